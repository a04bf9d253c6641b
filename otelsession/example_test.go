package otelsession_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/otelsession"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func ExampleNew() {
	ctx := context.Background()
	reader := sdk.NewManualReader() // yours exports to a collector
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))

	observe, err := otelsession.New(provider) // once, for all sessions
	if err != nil {
		log.Fatal(err)
	}
	key, err := encsession.ParseKey(encsession.GenerateKey()) // yours comes from a secret manager
	if err != nil {
		log.Fatal(err)
	}
	session, err := encsession.New(encsession.NewMemorySession("user-123"), key,
		encsession.WithTTL(24*time.Hour), encsession.WithObserver(observe))
	if err != nil {
		log.Fatal(err)
	}
	if err := session.AddItems(ctx, encsession.Item(`{"role":"user","content":"Hello"}`)); err != nil {
		log.Fatal(err)
	}

	var data metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &data); err != nil {
		log.Fatal(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "encsession.item.sealed" {
			fmt.Println(m.Name, sum.DataPoints[0].Value)
		}
	}
	// Output: encsession.item.sealed 1
}
