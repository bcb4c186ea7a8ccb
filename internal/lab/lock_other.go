//go:build !unix

package lab

import "errors"

// lock fails: without a lock that ends with its process, two labs could disturb each other.
func lock(string, string) (unlock func(), err error) {
	return nil, errors.New("labs need a Unix system such as Linux or macOS, for locks and signals: run weir in WSL or a container")
}
