package main

import (
	"context"
	"fmt"
	"io"

	"github.com/encsession/encsession/examples/internal/show"
	"github.com/encsession/encsession/openaisession"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

const instructions = "You help with train journeys. Look trains up with find_train. Answer in one sentence."

// agent is a model with tools and a memory.
type agent struct {
	client  openai.Client
	session *openaisession.Session
	model   string
	w       io.Writer
}

// mostRounds is the most requests to the model in one turn.
const mostRounds = 8

// turn adds the user's question, and lets the model call tools until it
// answers. It stores every message before anything else happens. So a process
// that stops has lost no message. But a call whose tool was running then has no
// output. It is not sent again, and the model may call the tool a second time.
func (a *agent) turn(ctx context.Context, question string) error {
	fmt.Fprintf(a.w, "\nuser   %s\n", show.Printable(question))
	input := []responses.ResponseInputItemUnionParam{
		responses.ResponseInputItemParamOfMessage(question, responses.EasyInputMessageRoleUser),
	}
	for range mostRounds {
		if err := a.session.AddItems(ctx, input); err != nil {
			return err
		}
		response, err := a.ask(ctx)
		if err != nil {
			return err
		}
		if err := a.session.AddOutput(ctx, response.Output); err != nil {
			return err
		}
		if input = a.callTools(response.Output); len(input) == 0 {
			fmt.Fprintf(a.w, "model  %s\n", show.Printable(response.OutputText()))
			return nil
		}
	}
	if err := a.session.AddItems(ctx, input); err != nil { // the outputs of the tools must not be lost
		return err
	}
	return fmt.Errorf("the model still calls tools after %d rounds", mostRounds)
}

// ask sends the whole history: the API keeps nothing.
func (a *agent) ask(ctx context.Context) (*responses.Response, error) {
	history, err := a.session.GetItems(ctx, 0)
	if err != nil {
		return nil, err
	}
	response, err := a.client.Responses.New(ctx, responses.ResponseNewParams{
		Model:        a.model,
		Instructions: openai.String(instructions),
		Input:        responses.ResponseNewParamsInputUnion{OfInputItemList: history},
		Tools:        []responses.ToolUnionParam{findTrainTool},
		Store:        openai.Bool(false),
		Include:      []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent},
	})
	if err != nil {
		return nil, err
	}
	if response.Status != responses.ResponseStatusCompleted {
		return nil, fmt.Errorf("the response is %q, not completed", response.Status)
	}
	return response, nil
}

// callTools returns the output of every call.
func (a *agent) callTools(output []responses.ResponseOutputItemUnion) []responses.ResponseInputItemUnionParam {
	var results []responses.ResponseInputItemUnionParam
	for _, item := range output {
		if item.Type != "function_call" {
			continue
		}
		call := item.AsFunctionCall()
		result := callTool(call)
		fmt.Fprintf(a.w, "call   %s(%s)\noutput %s\n", show.Printable(call.Name), show.Printable(call.Arguments), show.Printable(result))
		results = append(results, responses.ResponseInputItemUnionParam{
			OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{
				CallID: openai.String(call.CallID),
				Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: openai.String(result)},
			},
		})
	}
	return results
}
