package main

import (
	"slices"

	"github.com/go-analyze/charts"
)

// The chart is as wide as a README shows pictures without shrinking them.
const (
	chartWidth  = 800
	margin      = 28
	titleHeight = 100
	barsHeight  = 34 // of the two bars of a contender
	panelRest   = 36 // of a panel, for its name
)

// svg draws the results: a panel for each size, with a scale of its own, as the bars of 16 kB would leave nothing to be
// seen of those of 200 B. Each bar bears its number, so there are no axes of numbers.
func (r results) svg() ([]byte, error) {
	panelHeight := panelRest + barsHeight*len(r.names)
	height := titleHeight + panelHeight*len(r.writes) + margin/2
	theme := charts.GetTheme(charts.ThemeLight)
	p := charts.NewPainter(charts.PainterOptions{
		OutputFormat: charts.ChartOutputSVG, Width: chartWidth, Height: height, Theme: theme,
	})
	p.FilledRect(0, 0, chartWidth, height, charts.ColorWhite, charts.ColorWhite, 0) // on dark pages too
	font := charts.FontStyle{FontSize: 14, FontColor: theme.GetTitleTextColor()}
	p.Text("Microseconds per item: less is better", margin, 30, 0, font)
	font.FontSize = 9
	for i, line := range []string{r.hardware, r.software, "Each size has a scale of its own."} {
		p.Text(line, margin, 50+15*i, 0, font)
	}
	for i := range r.writes {
		top := titleHeight + panelHeight*i
		panel := p.Child(charts.PainterBoxOption(charts.NewBox(0, top, chartWidth, top+panelHeight)))
		if err := panel.BarChart(r.panel(i)); err != nil {
			return nil, err
		}
	}
	return p.Bytes()
}

// panel returns the bars of the size i.
func (r results) panel(i int) charts.BarChartOption {
	bars := charts.NewSeriesListBar([][]float64{r.bars(r.writes[i]), r.bars(r.reads[i])})
	for s := range bars {
		bars[s].Label.Show = charts.Ptr(true)
		bars[s].Label.ValueFormatter = number
	}
	o := charts.NewBarChartOptionWithSeries(bars)
	o.Horizontal = true
	o.Title.Text = sizeName(r.writes[i].size)
	o.Padding = charts.NewBox(margin, 4, 60, 0) // on the right, for the number of the longest bar
	o.Legend.SeriesNames = []string{"write", "read"}
	o.Legend.Show = charts.Ptr(i == 0) // it holds for all
	o.Legend.Offset = charts.OffsetRight
	o.Legend.OverlayChart = charts.Ptr(true) // beside the name, so that it takes no room from the bars
	o.CategoryAxis.Labels = slices.Clone(r.names)
	slices.Reverse(o.CategoryAxis.Labels)
	o.CategoryAxis.LabelFontStyle.FontSize = 10
	// The library measures with its own font; the one of the reader may be wider, and must not run into the bars.
	o.CategoryAxis.LabelOffset.Left = -10
	o.ValueAxis = []charts.ValueAxisOption{{Show: charts.Ptr(false), Min: charts.Ptr(0.0)}}
	return o
}

// bars returns a column for the chart, which draws from the bottom to the top.
func (r results) bars(c column) []float64 {
	var values []float64
	for i := range r.names {
		values = append(values, c.perItem(i))
	}
	slices.Reverse(values)
	return values
}
