//go:build synctests

package schedules

const durable = true
