package sessiontest

import (
	"bytes"
	"slices"
	"strings"

	"github.com/encsession/encsession"
)

// trickyItems returns items that stores are known to change, cut or refuse.
func trickyItems() []encsession.Item {
	var items []encsession.Item
	for _, item := range strings.Split(strings.TrimSpace(trickyLines), "\n") {
		items = append(items, []byte(item))
	}
	return append(items,
		[]byte(" \t\r\n{ \"white\" :\n[ 1 ,\t2 ] ,\r\n\"space\" : \" in  text \" } \n"),
		[]byte("{\"line separators\":\"\u2028\u2029\",\"joined\":\"\u200d\",\"private\":\"\ue000\",\"last\":\"\U0010ffff\"}"),
		[]byte(strings.Repeat(`{"deep":[`, 100)+`{}`+strings.Repeat(`]}`, 100)),
		[]byte("{\"combining\":\"e\u0301\",\"composed\":\"\u00e9\",\"e\u0301\":1,\"\u00e9\":2}"),
		slices.Concat([]byte(`{"long":"`), bytes.Repeat([]byte("0123456789abcdef"), 1<<16), []byte(`"}`)), // 1 MiB
	)
}

const trickyLines = `
{}
{"":"a member without a name"}
{"role":"user","content":[{"type":"text","text":"nested"},[],{},[[]],[{"a":{"b":{"c":null}}}]]}
{"values":[true,false,null,0,"",{}],"null":null}
{"escapes":"\"\\\/\b\f\n\r\t","unicode":"\u0041\u00e9\u4e2d","controls":"\u0001\u001f\u007f"}
{"zero":"\u0000","in the middle":"a\u0000b","\u0000":"as a name"}
{"surrogate pair":"\ud83d\ude00","the same":"😀"}
{"integers":[0,-1,9007199254740993,-9007199254740993,18446744073709551616,123456789012345678901234567890]}
{"fractions":[1e-7,-0.0,1.0,1.10,0.1,3.141592653589793238462643383279,1E5,1e+5,5e-324,1.7976931348623157e308]}
{"html":"<script>alert('x')</script> &amp; & < >"}
{"quotes":"' '' \" ` + "`" + ` ´ “ ” „ «»","percent":"% %% %s %d %20 $1 ${x} ? :name @name"}
{"backslashes":"\\ \\\\ \\n \\u0041 C:\\new\\table","trailing":"\\"}
{"sql":"'; DROP TABLE agent_messages; -- /* */","like":"%_[a]*?"}
{"scripts":"Latin Ελληνικά Кириллица العربية עברית हिन्दी ไทย 中文 日本語 한국어"}
{"emoji":"👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️","right to left":"` + "\u202eabc\u202c" + `"}
{"__proto__":{"polluted":true},"constructor":{"prototype":1},"toString":"x","length":3}
{"id":7,"ID":8,"Id":"members that differ by case"}
{"z":1,"a":2,"m":{"z":3,"a":4}}
{"role":"assistant","content":"{\"json\":\"in a string\"}","looks like a number":"1.0","looks like null":"null"}
{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"what looks like an envelope"}
{"__enc__":2,"v":9}
{"date":"2024-02-30T25:61:61Z","spaces":"  before, after  ","tab":"\t"}
`
