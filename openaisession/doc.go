// Package openaisession stores input items of the OpenAI Go SDK in any
// [encsession.Session] and reads them back, without loss. The items are
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
// A Session stores the JSON that openai-go marshals. A stored item comes back
// as a value that marshals to equal JSON: the same members with the same
// values, and numbers exact to the last digit. That holds for every item, even
// if Python or another version of openai-go wrote it.
//
// Decoding with encoding/json alone is not enough. It refuses an item of an
// unknown type, and a message without a type, which most programs write. A
// message of the assistant loses its ID and status, and in some versions its
// content. Unknown members are lost, and null is lost in many places.
//
// An item comes back as an ordinary value of openai-go if openai-go can hold it
// whole. One variant is set (OfMessage, OfFunctionCall and so on), and its
// fields show the stored values. ExtraFields of a struct hold the members that
// openai-go does not know, or would write differently. If an extra field is
// null, an empty text or an empty list, it may hide a zero field. If it is
// param.Omit, it keeps out a member that openai-go would add.
//
// You may change fields and send the item. But an extra field overrides a field
// of the same name: that is openai-go's own rule. So before you set a field
// that was null or missing, delete its name from ExtraFields:
//
//	delete(call.ExtraFields(), "status")
//	call.Status = responses.ResponseFunctionToolCallStatusCompleted
//
// Otherwise the change is not in the JSON. [Session.AddItems] refuses such an
// item, and says which name to delete. A client would send it with the old
// value.
//
// If openai-go cannot hold an item whole, no variant is set. That is so if
// openai-go does not know the type of the item, if a field would not show the
// stored value, or if one object has more than 100 unknown members. The value
// then carries the stored JSON, and its method Overrides returns that as a
// json.RawMessage. It is sent and stored like any other value. To change it,
// change the JSON and make a new value with param.Override.
//
// A message of the assistant that has parts comes back as OfOutputMessage.
// Another message that has parts, and an ID or a status, comes back as
// OfInputMessage. Every other message comes back as OfMessage. The JSON of a
// message does not tell more.
//
// # Output of the model
//
// [Session.AddOutput] stores response.Output as the API sent it, which is the
// form that the API wants back. The API refuses some members that only SDKs
// add. An example is the status null that a dump of Python's objects writes
// into reasoning. AddOutput adds no members. If the server keeps no state
// (Store false), ask for reasoning.encrypted_content with Include, so that
// reasoning can be sent back.
//
// # Histories that the API accepts
//
// Items expire one by one, and a limit cuts anywhere. If the reply to an
// AddItems was lost, a batch may be stored twice. Python's SDK stores members
// that it removes before it sends them. Each of these can make the API refuse
// the whole history. [WithSendableHistory] mends all of them in each read. It
// cannot bring back items that have expired. So the TTL must be longer than
// your longest turn: otherwise the question may have expired before a slow tool
// returns.
//
// With [WithLastTurns] and [WithBudget], a read returns the newest turns, and
// never half of one. [WithOmissionHandler] sets a func that is told of each
// item that is left out. The package apitest has a server that refuses
// histories as the API does.
//
// # openai-agents-go
//
// A [Session] has the method set of memory.Session in
// github.com/nlpodyssey/openai-agents-go, and in
// github.com/denggeng/openai-agents-go-plus. Their items have the same type,
// since they use openai-go v3. Give the Session to the runner as it is.
//
// openai-agents-go requires openai-go v3.24.0 (seen in November 2026). It does
// not compile with v3.96.0 and later, since some fields that it sets have other
// types there. So this module requires v3.24.0 and no later version. Its tests
// run with v3.24.0 and with v3.98.0. Your program uses the version that it
// requires.
package openaisession
