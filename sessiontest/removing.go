package sessiontest

var popOrder = check{
	name: "pop-order",
	rule: "PopItem removes the newest item and returns it; if there is none, it returns nil and no error.",
	harm: "Taking back the last message takes back another one, or a loop that empties a session never ends.",
	run: func(t *tester) {
		n := numbered(0, 6)
		s := t.fresh()
		s.add(n[1], n[2], n[3])
		s.add(n[4], n[5])
		s.wantPop(n[5])
		s.wantPop(n[4])
		s.want(n[1], n[2], n[3])
		s.add(n[6])
		s.want(n[1], n[2], n[3], n[6])
		s.wantPop(n[6])
		s.wantPop(n[3])
		s.wantPop(n[2])
		s.wantPop(n[1])
		s.wantPop(nil)
		s.wantPop(nil)
		s.want()
		s.add(n[0])
		s.want(n[0])
	},
}

var clearing = check{
	name: "clear",
	rule: "ClearSession removes all items of its session and of no other; the session can be used again.",
	harm: "A conversation that a user has deleted is still there, or another user's is gone.",
	run: func(t *tester) {
		n := numbered(1, 5)
		s, other := t.fresh(), t.fresh()
		s.add(n...)
		other.add(n...)
		s.clear()
		s.want()
		s.wantPop(nil)
		other.want(n...)
		s.add(n[3], n[4])
		s.want(n[3], n[4])
		s.clear()
		s.clear()
		s.want()
		other.want(n...)
	},
}
