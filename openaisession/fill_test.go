package openaisession_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

// filledVariants returns values of the variant of the input item with this
// name. Every field is set, at every depth. There are enough values to set each
// variant of each union inside once.
func filledVariants(t *testing.T, name string) []responses.ResponseInputItemUnionParam {
	var values []responses.ResponseInputItemUnionParam
	for f := (&filler{t: t, choices: 1}); f.choice < f.choices; f.choice++ {
		var u responses.ResponseInputItemUnionParam
		variant := reflect.ValueOf(&u).Elem().FieldByName(name)
		f.fill(variant, 0)
		// A type that is not a constant is set like any other text.
		if typ := variant.Elem().FieldByName("Type"); !isConstant(typ.Type()) {
			typ.SetString(typeOf(name))
		}
		values = append(values, u)
	}
	return values
}

// typeOf returns the type of an item by the name of its variant: function_call
// for OfFunctionCall.
func typeOf(variant string) string {
	snake := regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(strings.TrimPrefix(variant, "Of"), func(s string) string {
		return "_" + strings.ToLower(s)
	})
	if strings.HasSuffix(snake, "_message") {
		return "message"
	}
	return strings.TrimPrefix(snake, "_")
}

// filler sets every field of a value of openai-go. In each union it sets one
// variant: the one with the number choice, modulo the number of variants.
type filler struct {
	t       *testing.T
	choice  int
	choices int // the largest number of variants so far
}

// tricky is text that is easily changed by mistake.
const tricky = "é<b>&\"\\\u2028\U0001F600\uFFFD"

func (f *filler) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.Slice:
		n := 2
		if depth > 30 { // some types hold themselves
			n = 0
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		f.fill(element, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(tricky).Convert(v.Type().Key()), element)
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"any": []any{tricky, 0.25, nil, true}}))
	case reflect.String:
		v.SetString(tricky)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(1<<53 + 1) // a float64 would round it
	case reflect.Float64:
		v.SetFloat(0.1)
	case reflect.Struct:
		f.fillStruct(v, depth)
	default:
		f.t.Fatalf("cannot fill a %v: teach filler how", v.Type())
	}
}

func (f *filler) fillStruct(v reflect.Value, depth int) {
	if _, ok := v.Interface().(param.Optional); ok {
		f.fill(v.FieldByName("Value"), depth)
		return
	}
	if last := v.Type().Field(v.NumField() - 1); last.Type == reflect.TypeFor[param.APIUnion]() {
		n := v.NumField() - 1
		f.choices = max(f.choices, n)
		f.fill(v.Field(f.choice%n), depth+1)
		return
	}
	for i := range v.NumField() {
		switch field := v.Type().Field(i); {
		case !field.IsExported() || field.Tag.Get("json") == "-" || isConstant(field.Type):
		case field.Name == "Role":
			v.Field(i).SetString("user")
		default:
			f.fill(v.Field(i), depth+1)
		}
	}
}

// isConstant reports whether a type marshals its zero value as a constant.
func isConstant(t reflect.Type) bool {
	_, ok := t.MethodByName("Default")
	return ok
}

// variantOf returns the name of the variant that is set, or the empty string.
func variantOf(u responses.ResponseInputItemUnionParam) string {
	v := reflect.ValueOf(u)
	for _, name := range variantNames[responses.ResponseInputItemUnionParam]() {
		if !v.FieldByName(name).IsNil() {
			return name
		}
	}
	return ""
}

// variantNames returns the names of the variants of a union, which begin with
// Of.
func variantNames[Union any]() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Union]()) {
		if strings.HasPrefix(f.Name, "Of") {
			names = append(names, f.Name)
		}
	}
	return names
}
