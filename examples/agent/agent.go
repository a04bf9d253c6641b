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

// mostRounds is how often a turn may ask the model before it is given up.
const mostRounds = 8

// turn adds what the user says, and lets the model call tools until it answers. Whatever is said is in the session before
// anything else happens, so that a process that stops has forgotten nothing that was said. But a call whose tool was
// running then has no output: it is not sent again, and the model may call the tool a second time.
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
	if err := a.session.AddItems(ctx, input); err != nil { // what the tools have done must not be forgotten
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
