// Package openaisession takes input items of the OpenAI Go SDK, [responses.ResponseInputItemUnionParam] of
// github.com/openai/openai-go/v3, in and out of any Session of github.com/encsession/encsession, without loss.
//
//	session, err := openaisession.New(encrypted) // or any other encsession.Session
//	err = session.AddItems(ctx, []responses.ResponseInputItemUnionParam{
//		responses.ResponseInputItemParamOfMessage("Hello", responses.EasyInputMessageRoleUser),
//	})
//	history, err := session.GetItems(ctx, 0)
//	response, err := client.Responses.New(ctx, responses.ResponseNewParams{
//		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: history}, // and Model, Tools and so on
//	})
//	err = session.AddOutput(ctx, response.Output)
//
// # What comes back
//
// What openai-go marshals is stored, and what is stored comes back as a value that marshals to equal JSON: the same members
// with the same values, numbers to the last digit. That goes for every item, also for those that Python or another
// version of openai-go wrote. Decoding them with encoding/json alone is not enough. A message without a type, which is
// how most programs write {"role":"user","content":"Hi"}, is an error there; an assistant's message loses its id and status,
// and with some versions its content; an unknown type is an error; unknown members, and null in many places, are lost.
//
// An item comes back as an ordinary value of openai-go wherever openai-go can hold it whole. One variant is set (OfMessage,
// OfFunctionCall and so on), and its fields show what is stored. Members that openai-go does not know, or would not write
// as they are, are in ExtraFields of the struct that they belong to, where null, an empty text or an empty list may hide a
// field that is zero, and param.Omit keeps out a member that openai-go would add.
//
// Fields may be changed, and sent. But there openai-go's own rule holds: an extra field goes before a field of the same name.
// So before you set a field that was null or missing, delete its name from ExtraFields:
//
//	delete(call.ExtraFields(), "status")
//	call.Status = responses.ResponseFunctionToolCallStatusCompleted
//
// Otherwise the change is not in the JSON. AddItems refuses such an item, and says which name to delete; a client that is
// given it sends what was there before.
//
// Where openai-go cannot hold an item whole, no variant is set: an item of a type that it does not know, with a field that
// would not show what is stored, or with more than 100 unknown members in one object. Such a value carries the stored JSON,
// byte for byte: its method Overrides returns it, as a json.RawMessage, and it is sent and stored like any other. To
// change it, change the JSON and make a new value with param.Override.
//
// A message from the assistant that has parts comes back as OfOutputMessage, another one that has parts and an id or a
// status as OfInputMessage, and every other one as OfMessage. Their JSON does not tell more.
//
// # Output of the model
//
// AddOutput stores response.Output as the API sent it, which is what the API wants back. It refuses some members that
// only SDKs add, such as the status null that a dump of Python's objects writes into reasoning: AddOutput adds none. Without
// server-side state (Store false), ask for reasoning.encrypted_content with Include, so that reasoning can be sent back.
//
// # Histories with holes
//
// Items expire one by one, and a limit cuts anywhere: between a tool call and its output too, and between reasoning and its
// call. A tool call without its output, or the other way round, makes the API refuse the whole history. [WithoutOrphans]
// leaves out what is alone. It cannot bring back what has expired: let the TTL be longer than your longest turn, or a tool that
// takes longer returns to a history without the question.
//
// # openai-agents-go
//
// A [Session] has the method set of memory.Session in github.com/nlpodyssey/openai-agents-go, whose items are the same
// type since it uses openai-go v3: give it to the runner as it is. That framework requires v3.24.0 (seen in November 2026),
// and does not compile with v3.96.0, where fields that it sets have other types. So this module requires no later version
// than v3.24.0, and its tests run with that one and with the latest. In your program the version counts that you require.
package openaisession
