package sessiontest

var reopened = check{
	name: "reopened",
	rule: "Items are still there after the store was closed and opened again.",
	harm: "All conversations are gone after a restart, or their newest messages are.",
	run: func(t *tester) {
		if t.reopen == nil {
			t.Skip("Run was not given WithReopen")
		}
		n := numbered(1, 6)
		s, untouched, cleared := t.fresh(), t.fresh(), t.fresh()
		s.add(n[0], n[1], n[2])
		s.wantPop(n[2])
		s.add(n[3])
		cleared.add(n...)
		cleared.clear()
		for range 2 {
			t.reopen()
			s, untouched, cleared = s.again(), untouched.again(), cleared.again()
			s.want(n[0], n[1], n[3])
			untouched.want()
			cleared.want()
		}
		s.add(n[4])
		s.want(n[0], n[1], n[3], n[4])
		s.wantPop(n[4])
		s.wantPop(n[3])
		t.reopen()
		s = s.again()
		s.want(n[0], n[1])
		cleared.again().want()
	},
}
