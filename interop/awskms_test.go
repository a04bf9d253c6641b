//go:build !lint

package interop

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"
	"gocloud.dev/secrets"
	"gocloud.dev/secrets/awskms"
)

// Moto's server goes on decrypting with a key that is disabled or about to be
// deleted. AWS does not. So each key has a server of its own, and the test
// resets the server to destroy the key.
func TestKeystoreWithAWSKMS(t *testing.T) {
	testKeystore(t, func(t *testing.T) (*secrets.Keeper, func()) {
		client, reset := startKMS(t)
		made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
		require.NoError(t, err)
		return awskms.OpenKeeper(client, *made.KeyMetadata.KeyId, nil), reset
	})
}

// startKMS starts moto's server, which has a KMS, in the Python that has moto.
func startKMS(t *testing.T) (client *kms.Client, reset func()) {
	python := os.Getenv("ENCSESSION_KMS_PYTHON")
	if python == "" {
		t.Skip("set ENCSESSION_KMS_PYTHON to a Python that has the packages of interop/requirements-kms.txt to run this test")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	cmd := exec.Command(python, "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })

	endpoint := "http://" + address
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for answered := false; !answered; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/moto-api/", nil)
		require.NoError(t, err)
		if response, err := http.DefaultClient.Do(request); err == nil {
			answered = response.StatusCode < 500
			response.Body.Close()
		}
		select {
		case <-ended:
			require.Fail(t, "moto's server has ended", log.String())
		case <-ctx.Done():
			require.Fail(t, "moto's server does not answer")
		case <-time.After(50 * time.Millisecond):
		}
	}
	reset = func() {
		response, err := http.Post(endpoint+"/moto-api/reset", "", nil)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	return kms.New(kms.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("testing", "testing", ""),
	}), reset
}
