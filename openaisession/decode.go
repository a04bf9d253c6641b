package openaisession

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/encsession/encsession"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

// decode returns an input item that marshals to JSON equal to the stored one.
// If openai-go has a variant that can hold the item whole, that variant is set.
// Otherwise the value carries the stored JSON. members are those of the item,
// or nil if it is not a JSON object.
//
// The decoder sets the fields itself. UnmarshalJSON of openai-go loses members,
// and takes three times as long. If the fields alone hold the item, the
// resulting JSON is known. In all other cases decode marshals the value and
// compares, so that it need not trust any version of openai-go.
func decode(item encsession.Item, members []member) responses.ResponseInputItemUnionParam {
	for _, variant := range variantsFor(members) {
		var value responses.ResponseInputItemUnionParam
		d := decoder{}
		field := reflect.ValueOf(&value).Elem().Field(variant)
		field.Set(reflect.New(field.Type().Elem()))
		if d.object(field.Elem(), members) && (!d.unsure || marshalsTo(value, item)) {
			return value
		}
	}
	return param.Override[responses.ResponseInputItemUnionParam](item)
}

// The indices of the variants of messages. The JSON of a message does not
// always say which of them it is.
var (
	easyMessage   = variantNamed("OfMessage")
	inputMessage  = variantNamed("OfInputMessage")
	outputMessage = variantNamed("OfOutputMessage")
)

func variantNamed(name string) int {
	field, _ := reflect.TypeFor[responses.ResponseInputItemUnionParam]().FieldByName(name)
	return field.Index[0]
}

// variantsFor returns the indices of the variants that may fit an item, in the
// order in which to try them.
func variantsFor(members []member) []int {
	typ, role := memberText(members, "type"), memberText(members, "role")
	if typ != "message" && (typ != "" || role == "") {
		return planOf(reflect.TypeFor[responses.ResponseInputItemUnionParam]()).variants[typ]
	}
	if !bytes.HasPrefix(find(members, "content"), []byte("[")) {
		return []int{easyMessage}
	}
	var variants []int
	if role == "assistant" {
		variants = append(variants, outputMessage)
	}
	if find(members, "id") != nil || find(members, "status") != nil {
		variants = append(variants, inputMessage)
	}
	return append(variants, easyMessage)
}

// find returns the value of the last member with this name, or nil.
func find(members []member, name string) json.RawMessage {
	for i := len(members) - 1; i >= 0; i-- {
		if members[i].name == name {
			return members[i].raw
		}
	}
	return nil
}

// memberText returns the text of a member, or the empty text if it has none.
func memberText(members []member, name string) string {
	text, _ := textOf(find(members, name))
	return text
}

// marshalsTo reports whether value marshals to JSON equal to raw.
func marshalsTo(value responses.ResponseInputItemUnionParam, raw []byte) bool {
	written, err := marshal(value)
	return err == nil && (bytes.Equal(written, raw) ||
		equalJSON(written, raw) && !losesSurrogates(written, raw))
}

// decoder sets values of openai-go from JSON. Its methods report whether the
// value holds everything in the JSON, as far as they can tell.
type decoder struct {
	unsure bool // whether the value may marshal to something else
	extras int  // the number of extra fields that were set
}

// mostExtra is the highest number of extra fields of an object. No program
// writes that many, and openai-go v3.24.0 copies the whole object for each of
// them.
const mostExtra = 100

// object sets a struct from the members of an object. Each member that
// openai-go does not know, or would not write, becomes an extra field. No extra
// field hides a field that holds something: that field would show a wrong
// value, and changes to it would have no effect.
func (d *decoder) object(v reflect.Value, members []member) bool {
	object, ok := v.Addr().Interface().(extensible)
	if !ok {
		return false
	}
	p := planOf(v.Type())
	seen := make([]bool, len(p.fields))
	var extra map[string]any
	keep := func(name string, value any) {
		if extra == nil {
			extra = map[string]any{}
		}
		extra[name] = value
	}
	for _, m := range members {
		i, known := p.byName[m.name]
		if !known {
			if _, twice := extra[m.name]; twice {
				return false
			}
			keep(m.name, m.raw)
			continue
		}
		if seen[i] {
			return false
		}
		seen[i] = true
		field := v.Field(p.fields[i].index)
		isNull := string(m.raw) == "null"
		switch {
		case isNull && !d.null(field):
			keep(m.name, m.raw)
		case !isNull && !d.value(field, p.fields[i], m.raw):
			return false
		case !p.fields[i].omitZero || !field.IsZero():
		case isEmpty(m.raw):
			keep(m.name, m.raw)
		default:
			return false
		}
	}
	for i, f := range p.fields {
		if !seen[i] && !f.omitZero {
			keep(f.name, param.Omit) // openai-go would add it
		}
	}
	if len(extra) > 0 {
		object.SetExtraFields(extra)
		d.unsure = true
		d.extras += len(extra)
	}
	return len(extra) <= mostExtra
}

// null sets v to null if openai-go itself can hold that, and reports whether it
// can.
func (d *decoder) null(v reflect.Value) bool {
	switch opt := v.Addr().Interface().(type) {
	case *param.Opt[string]:
		*opt = param.Null[string]()
	case *param.Opt[int64]:
		*opt = param.Null[int64]()
	case *param.Opt[float64]:
		*opt = param.Null[float64]()
	case *param.Opt[bool]:
		*opt = param.Null[bool]()
	default:
		if v.Kind() != reflect.Struct || !planOf(v.Type()).isUnion {
			return false
		}
		d.unsure = true
		setNull(v)
	}
	return true
}

// setNull makes a union null. It does so by reflection, which cannot call the
// generic param.NullStruct. If a variant is set later, the variant counts.
func setNull(union reflect.Value) {
	reflect.ValueOf(param.SetJSON).Call([]reflect.Value{
		reflect.ValueOf([]byte("null")), union.Addr()})
}

// value sets v from JSON that is not null.
func (d *decoder) value(v reflect.Value, f field, raw json.RawMessage) bool {
	if opt, ok := d.optional(v, raw); opt {
		return ok
	}
	switch v.Kind() {
	case reflect.String:
		text, ok := textOf(raw)
		d.unsure = d.unsure || f.constant != "" && text != f.constant
		v.SetString(text)
		return ok
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem(), field{}, raw)
	case reflect.Slice:
		return d.slice(v, raw)
	case reflect.Struct:
		if planOf(v.Type()).isUnion {
			return d.union(v, raw)
		}
		return raw[0] == '{' && d.object(v, membersOf(raw))
	}
	d.unsure = true // a number, a map, or any
	return json.Unmarshal(raw, v.Addr().Interface()) == nil
}

// optional sets v if it is a param.Opt. It reports whether v is one, and
// whether v now holds raw.
func (d *decoder) optional(v reflect.Value, raw json.RawMessage) (opt, ok bool) {
	switch opt := v.Addr().Interface().(type) {
	case *param.Opt[string]:
		text, ok := textOf(raw)
		*opt = param.NewOpt(text)
		return true, ok
	case *param.Opt[bool]:
		*opt = param.NewOpt(string(raw) == "true")
		return true, string(raw) == "true" || string(raw) == "false"
	case *param.Opt[int64]:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		*opt = param.NewOpt(n)
		d.unsure = d.unsure || strconv.FormatInt(n, 10) != string(raw)
		return true, err == nil
	case *param.Opt[float64]:
		n, err := strconv.ParseFloat(string(raw), 64)
		*opt = param.NewOpt(n)
		d.unsure = true
		return true, err == nil && raw[0] <= '9' && raw[0] != '"'
	}
	return false, false
}

func (d *decoder) slice(v reflect.Value, raw json.RawMessage) bool {
	if raw[0] != '[' {
		return false
	}
	elements := elementsOf(raw)
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, element := range elements {
		if string(element) == "null" || !d.value(v.Index(i), field{}, element) {
			return false
		}
	}
	return true
}

// union sets the variant of a union whose kind fits. It tells objects apart by
// their types or, if they have none, by their members.
func (d *decoder) union(v reflect.Value, raw json.RawMessage) bool {
	p := planOf(v.Type())
	variants := p.others
	if raw[0] == '{' {
		members := membersOf(raw)
		if variants = p.variants[memberText(members, "type")]; variants == nil {
			variants = p.variants[""]
		}
	}
	best := decoder{extras: -1}
	var holder reflect.Value
	for _, i := range variants {
		candidate, try := reflect.New(v.Type()).Elem(), decoder{}
		if try.value(candidate.Field(i), field{}, raw) &&
			(best.extras < 0 || try.extras < best.extras) {
			best, holder = try, candidate
		}
	}
	if best.extras < 0 {
		return false
	}
	v.Set(holder)
	d.unsure = d.unsure || best.unsure
	d.extras += best.extras
	return true
}

// extensible is implemented by pointers to those structs of openai-go that
// stand for JSON objects, and by pointers to its unions.
type extensible interface {
	SetExtraFields(map[string]any)
}

// plan describes to the decoder how to read a struct of openai-go.
type plan struct {
	fields []field // of an object
	byName map[string]int

	isUnion  bool
	variants map[string][]int // those that are objects, by type; "" for any type
	others   []int            // those that are something else
}

// field is one field of a struct that stands for an object.
type field struct {
	index    int
	name     string
	omitZero bool
	constant string // its only text, if its type has only one
}

var plans sync.Map // of reflect.Type to *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := newPlan(t)
	plans.Store(t, p)
	return p
}

func newPlan(t reflect.Type) *plan {
	p := &plan{isUnion: isUnion(t), byName: map[string]int{}, variants: map[string][]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name := memberName(f)
		switch {
		case f.Anonymous || !f.IsExported():
		case p.isUnion && f.Type.Kind() == reflect.Pointer:
			typ := typeOfVariant(t, f)
			p.variants[typ] = append(p.variants[typ], i)
		case p.isUnion:
			p.others = append(p.others, i)
		case name != "" && name != "-":
			p.byName[name] = len(p.fields)
			p.fields = append(p.fields, field{index: i, name: name,
				omitZero: strings.Contains(f.Tag.Get("json"), ",omitzero"),
				constant: constantOf(f.Type)})
		}
	}
	return p
}

// typeOfVariant returns the type of an object that a variant of a union holds,
// or the empty text if the object may have any type. If the type of an item is
// not a constant, it is in the name of the variant: item_reference for
// OfItemReference.
func typeOfVariant(union reflect.Type, variant reflect.StructField) string {
	object := variant.Type.Elem()
	if object.Kind() != reflect.Struct {
		return ""
	}
	constant := ""
	if f, ok := object.FieldByName("Type"); ok {
		constant = constantOf(f.Type)
	}
	if constant == "" && union == reflect.TypeFor[responses.ResponseInputItemUnionParam]() {
		words := regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(
			strings.TrimPrefix(variant.Name, "Of"),
			func(s string) string { return "_" + strings.ToLower(s) })
		constant = strings.TrimPrefix(words, "_")
	}
	return constant
}

// constantOf returns the text of a type that stands for only one text, or else
// the empty text.
func constantOf(t reflect.Type) string {
	method, ok := t.MethodByName("Default")
	if !ok || t.Kind() != reflect.String || method.Type.NumOut() != 1 {
		return ""
	}
	out := method.Func.Call([]reflect.Value{reflect.Zero(t)})
	return out[0].String()
}

// isUnion reports whether t is a union of openai-go: a struct in which one of
// the fields holds the value.
func isUnion(t reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Type == reflect.TypeFor[param.APIUnion]() {
			return true
		}
	}
	return false
}

// memberName returns the name of the member that a field stands for. If there
// is none, it returns "" or "-".
func memberName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// isEmpty reports whether openai-go may leave a member out: null, or an empty
// text or list.
func isEmpty(member json.RawMessage) bool {
	switch string(member) {
	case "null", `""`, "[]":
		return true
	}
	return false
}
