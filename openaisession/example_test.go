package openaisession_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/openaisession"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

// The examples use one key that everybody can read here. Yours comes from a
// secret manager.
const exampleKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// errNotCompleted is for an answer that was cut off or has failed: one of its
// calls may be incomplete.
var errNotCompleted = errors.New("the response is not completed")

// runTurn is the agent of README.md. examples/agent runs one like it, which
// also limits the rounds.
func runTurn(ctx context.Context, client openai.Client, session *openaisession.Session, params responses.ResponseNewParams,
	input []responses.ResponseInputItemUnionParam) (response *responses.Response, err error) {
	// session is from openaisession.New(s, openaisession.WithSendableHistory()),
	// and input is the user's message.
	for err = session.AddItems(ctx, input); err == nil; err = session.AddItems(ctx, input) {
		if params.Input.OfInputItemList, err = session.GetItems(ctx, 0); err != nil {
			return nil, err
		}
		response, err = client.Responses.New(ctx, params)
		if err != nil || response.Status != responses.ResponseStatusCompleted {
			return nil, cmp.Or(err, errNotCompleted) // do not run the calls of an answer that was cut off
		}
		if err = session.AddOutput(ctx, response.Output); err != nil {
			return nil, err
		}
		if input = callTools(response.Output); len(input) == 0 { // an output for each call
			return response, nil // the model has answered
		}
	}
	return nil, err
}

// callTools stands for the tools of an agent: it returns an output for each
// call.
func callTools(output []responses.ResponseOutputItemUnion) []responses.ResponseInputItemUnionParam {
	var items []responses.ResponseInputItemUnionParam
	for _, item := range output {
		if item.Type == "function_call" {
			items = append(items, param.Override[responses.ResponseInputItemUnionParam](
				map[string]string{"type": "function_call_output", "call_id": item.CallID, "output": "sunny"}))
		}
	}
	return items
}

// The answer of the model is stored as it came, and comes back ready to be
// sent.
func Example() {
	ctx := context.Background()
	key, err := encsession.ParseKey(exampleKey)
	if err != nil {
		log.Fatal(err)
	}
	encrypted, err := encsession.New(encsession.NewMemorySession("user-123"), key, encsession.WithTTL(24*time.Hour),
		encsession.WithObserver(encsession.LogDrops(slog.Default())))
	if err != nil {
		log.Fatal(err)
	}
	session, err := openaisession.New(encrypted)
	if err != nil {
		log.Fatal(err)
	}
	response := responses.Response{} // client.Responses.New returns it
	err = json.Unmarshal([]byte(`{"output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
		"content": [{"type": "output_text", "text": "Hello!", "annotations": [], "from_a_later_version": 1}]}]}`), &response)
	if err != nil {
		log.Fatal(err)
	}
	if err := session.AddOutput(ctx, response.Output); err != nil {
		log.Fatal(err)
	}

	history, err := session.GetItems(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	text := &history[0].OfOutputMessage.Content[0].OfOutputText.Text // a field like any other
	fmt.Println(*text)
	*text = "Hello again!"
	sent, err := json.Marshal(history) // as the client does
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(sent))
	// Output:
	// Hello!
	// [{"id":"msg_1","content":[{"annotations":[],"text":"Hello again!","type":"output_text","from_a_later_version":1}],"status":"completed","role":"assistant","type":"message"}]
}

// If the output of a tool call is missing, the API refuses the whole history.
func ExampleWithSendableHistory() {
	ctx := context.Background()
	store := encsession.NewMemorySession("user-123")
	session, err := openaisession.New(store, openaisession.WithSendableHistory(),
		openaisession.WithOmissionHandler(func(_ context.Context, o openaisession.Omission) {
			fmt.Println("left out:", o)
		}))
	if err != nil {
		log.Fatal(err)
	}
	err = session.AddItems(ctx, []responses.ResponseInputItemUnionParam{
		responses.ResponseInputItemParamOfMessage("Book the flight.", "user"),
		responses.ResponseInputItemParamOfFunctionCall(`{"flight":"LO281"}`, "call_1", "book"),
		// The program stopped here.
		responses.ResponseInputItemParamOfMessage("Hello? Are you there?", "user"),
	})
	if err != nil {
		log.Fatal(err)
	}
	history, err := session.GetItems(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	for _, item := range history {
		fmt.Println(*item.GetRole(), item.OfMessage.Content.OfString)
	}
	// Output:
	// left out: orphan: "function_call" "call_1" of session "user-123"
	// user Book the flight.
	// user Hello? Are you there?
}
