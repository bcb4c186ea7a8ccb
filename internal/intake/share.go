package intake

// kept is how many descriptors clients never get: for the files of the brokers
// and weir's own connections, of which some 170 are open with weir's own topics.
const kept = 256

// full is how many connections all listeners of a process admit where descriptors
// are plenty: three brokers and Redis with 2,000 each, and 1,000 on the web server.
const full = 9000

// Share returns how many connections a listener admits that admits want where
// descriptors are plenty. All listeners together get at most half of the
// descriptors that are left after those that are kept. The other half is for the
// segment files of more topics.
func Share(want int) int {
	n, err := descriptors()
	if err != nil { // the system has no such limit
		return want
	}
	return share(want, n)
}

// Clients returns how many connections all listeners of a process admit together,
// and whether that is fewer than where descriptors are plenty.
func Clients() (n int, fewer bool) {
	n = Share(full)
	return n, n < full
}

func share(want int, descriptors uint64) int {
	if descriptors >= kept+2*full {
		return want
	}
	left := max(int(descriptors)-kept, 0) / 2
	return max(want*left/full, 1)
}
