package wikipedia

import "time"

// parseTime returns the Unix microseconds of an RFC 3339 time, what is finer
// than a microsecond cut off; false where s is none. It is stricter than
// time.Parse, which takes one-digit hours and a comma, and needs no string.
func parseTime(s []byte) (us int64, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	year, month, day := digits(s[0:4]), digits(s[5:7]), digits(s[8:10])
	hour, minute, second := digits(s[11:13]), digits(s[14:16]), digits(s[17:19])
	if year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
		second < 0 || second > 59 {
		return 0, false
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if at.Day() != day { // the month has no such day
		return 0, false
	}
	micros, rest := fraction(s[19:])
	offset, ok := zone(rest)
	if micros < 0 || !ok {
		return 0, false
	}
	return at.UnixMicro() + micros - int64(offset)*60e6, true
}

// fraction returns the microseconds of the fraction that s begins with, and
// what follows it; 0 without one, -1 where it has no digits.
func fraction(s []byte) (us int64, rest []byte) {
	if s[0] != '.' {
		return 0, s
	}
	i, unit := 1, int64(100_000)
	for ; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		us += int64(s[i]-'0') * unit
		unit /= 10
	}
	if i == 1 {
		return -1, nil
	}
	return us, s[i:]
}

// zone returns the offset from UTC in minutes that s is.
func zone(s []byte) (minutes int, ok bool) {
	if len(s) == 1 {
		return 0, s[0] == 'Z'
	}
	if len(s) != len("+00:00") || s[3] != ':' || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	h, m := digits(s[1:3]), digits(s[4:6])
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	minutes = h*60 + m
	if s[0] == '-' {
		minutes = -minutes
	}
	return minutes, true
}

// digits returns the number that s is in decimal digits, -1 where it is none.
func digits(s []byte) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
