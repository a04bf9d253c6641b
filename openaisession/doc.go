// Package openaisession takes input items of the OpenAI Go SDK in and out of
// any Session of github.com/encsession/encsession, without loss. The items are
// [responses.ResponseInputItemUnionParam] of github.com/openai/openai-go/v3.
//
//	session, err := openaisession.New(encrypted, openaisession.WithSendableHistory())
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
// The JSON that openai-go marshals is stored, and a stored item comes back as a
// value that marshals to equal JSON: the same members with the same values,
// numbers to the last digit. That holds for every item, also for those that
// Python or another version of openai-go wrote.
//
// Decoding with encoding/json alone is not enough. It refuses a message without
// a type, as most programs write it, and an unknown type. An assistant's
// message loses its ID and status, and with some versions its content. Unknown
// members, and null in many places, are lost.
//
// An item comes back as an ordinary value of openai-go if openai-go can hold it
// whole. One variant is set (OfMessage, OfFunctionCall and so on), and its
// fields show the stored values. Members that openai-go does not know, or would
// write otherwise, are in ExtraFields of their struct. There, null, an empty
// text or an empty list may hide a field that is zero, and param.Omit keeps out
// a member that openai-go would add.
//
// Fields may be changed, and sent. But an extra field goes before a field of
// the same name: that is openai-go's own rule. So before you set a field that
// was null or missing, delete its name from ExtraFields:
//
//	delete(call.ExtraFields(), "status")
//	call.Status = responses.ResponseFunctionToolCallStatusCompleted
//
// Otherwise the change is not in the JSON. AddItems refuses such an item, and
// says which name to delete. A client that is given it sends the old value.
//
// If openai-go cannot hold an item whole, no variant is set. Such is an item of
// a type that it does not know, one with a field that would not show the stored
// value, or one with more than 100 unknown members in one object. The value
// carries the stored JSON: its method Overrides returns that as a
// json.RawMessage. It is sent and stored like any other. To change it, change
// the JSON and make a new value with param.Override.
//
// A message from the assistant that has parts comes back as OfOutputMessage.
// Another one that has parts and an ID or a status comes back as
// OfInputMessage, and every other one as OfMessage. Their JSON does not tell
// more.
//
// # Output of the model
//
// AddOutput stores response.Output as the API sent it, which is the form that
// the API wants back. The API refuses some members that only SDKs add, such as
// the status null that a dump of Python's objects writes into reasoning.
// AddOutput adds none. Without state on the server (Store false), ask for
// reasoning.encrypted_content with Include, so that reasoning can be sent back.
//
// # Histories that the API accepts
//
// Items expire one by one, a limit cuts anywhere, a batch whose reply was lost
// may be stored twice, and Python's SDK stores members that it removes before
// it sends them. The API refuses the whole history for each of these.
// [WithSendableHistory] mends all of them on reading. It cannot bring back
// items that have expired. Let the TTL be longer than your longest turn:
// otherwise a tool that takes longer returns to a history without the question.
//
// [WithLastTurns] and [WithBudget] return the newest turns, and never half of
// one. [WithOmissionHandler] is told of each item that is left out. The package
// apitest has a server that refuses histories as the API does.
//
// # openai-agents-go
//
// A [Session] has the method set of memory.Session in
// github.com/nlpodyssey/openai-agents-go, and in
// github.com/denggeng/openai-agents-go-plus. Their items are of the same type,
// since they use openai-go v3: give the Session to the runner as it is.
//
// openai-agents-go requires openai-go v3.24.0 (seen in November 2026), and does
// not compile with v3.96.0 and later: there, fields that it sets have other
// types. So this module requires no later version than v3.24.0. Its tests run
// with that one and with v3.98.0. In your program the version counts that you
// require.
package openaisession
