package main

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
)

// lines are the warnings and errors of Java logs as templates: what differs between two runs is replaced.
type lines struct{ seen map[string]int }

func newLines() *lines { return &lines{seen: map[string]int{}} }

// A line of ours begins with @LEVEL hh:mm:ss,mmm logger; the lines of a stack trace follow it.
var logLine = regexp.MustCompile(`^@(WARN|ERROR|FATAL) \S+ (\S+) (.*)$`)

// variable parts, in the order in which they are replaced.
var variable = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(Exceptionally slow controller event) .*( took )`), "$1 EVENT$2"},
	{regexp.MustCompile(`(RequestHeader\(apiKey=\w+), .*`), "$1 REQUEST"},
	{regexp.MustCompile(`/[\w./-]*(node-\d+|quorum\d+)[\w./-]*`), "PATH"},
	{regexp.MustCompile(`\b[A-Za-z0-9_-]{22}\b`), "UUID"},
	{regexp.MustCompile(`ledger-\d+`), "USER"},
	{regexp.MustCompile(`\(state|\(?\b(Prospective|Candidate|Leader|Follower|Resigned|Unattached)State\b.*`), "STATE"},
	{regexp.MustCompile(`-?\d+(\.\d+)*`), "N"},
}

// template is what a message says whoever says it and whenever.
func template(message string) string {
	for _, v := range variable {
		message = v.what.ReplaceAllString(message, v.by)
	}
	return message
}

// read adds the lines of a log file.
func (l *lines) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if m := logLine.FindStringSubmatch(s.Text()); m != nil {
			l.seen[m[1]+" "+m[2]+" "+template(m[3])]++
		}
	}
	return s.Err()
}

// without returns what l has and others lack, sorted.
func (l *lines) without(others *lines) (out []string) {
	for line := range l.seen {
		if others.seen[line] == 0 {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// parseLines reads templates, one a line; empty lines and those that begin with # are comments.
func parseLines(text string) *lines {
	l := newLines()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			l.seen[line]++
		}
	}
	return l
}

// complaint is the last line of a node's present log that says what is wrong and that isn't known of quorums of Java nodes; "" if there is none.
func (n *node) complaint() (last string) {
	const most = 400
	if n.proc == nil {
		return ""
	}
	for line := range strings.Lines(tail(n.proc.log, 1<<20)) {
		m := logLine.FindStringSubmatch(strings.TrimSpace(line))
		if m != nil && n.w.h.allowed.seen[m[1]+" "+m[2]+" "+template(m[3])] == 0 || strings.Contains(line, "level=ERROR") {
			last = strings.TrimSpace(line)
		}
	}
	return last[:min(len(last), most)]
}
