// Package run has the tests that execute the documents: README, the tutorial, the how-to
// guides and the page for teachers. A reader who copies a command from them must see what stands below it.
//
// A fenced block that begins with three backquotes and the word console holds commands, each
// after "$ ", and below each command what the reader sees. A line that is only "…" stands for
// any lines, "…" within a line for any text. A number of one digit stands for itself, a longer
// one for any number. Spaces may be more or fewer. Words behind "console" say how to run it:
//
//	stays=NAME      the last command goes on running when what it shows has appeared
//	interrupt=NAME  the block is "^C": it interrupts NAME, and shows what NAME prints at its end
//	kill=NAME       the block's command is carried out by the test: it kills NAME with SIGKILL
//	soon            the command is repeated until it shows what stands there
//	exit=N          the exit code of the last command; without it 0
//	needs=A,B       what a machine must have; without it the block is skipped, and counted
//
// In a block of another language, file=NAME makes it a file, and everything else is only text.
package run
