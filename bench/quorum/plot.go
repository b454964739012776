package main

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// plotObservers takes the leader's cost beside more and more observers, for both engines, and draws it.
func plotObservers(h *host, o options) error {
	o.rounds = 1
	var all []cost
	counts := []int{3, 10, 30, 100}
	if o.quick {
		counts = []int{3, 10}
	}
	for _, n := range counts {
		for _, kind := range []string{pull, pushWAL} {
			c, err := costs(h, o, kind, n)
			if err != nil {
				return err
			}
			all = append(all, c...)
		}
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := writeCSV(filepath.Join(o.out, "leader-cost.csv"), all); err != nil {
		return err
	}
	for _, l := range loads {
		var of []cost
		for _, c := range all {
			if c.load == l.name {
				of = append(of, c)
			}
		}
		if err := os.WriteFile(filepath.Join(o.out, "leader-cost-"+l.name+".svg"), drawCosts(l.name, of), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("#   written to %s\n", o.out)
	return nil
}

func writeCSV(name string, all []cost) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	rows := [][]string{{"engine", "load", "voters", "observers", "leader_cpu_us_per_record", "commits_per_second", "observer_lag_p50_ms", "observer_lag_p99_ms"}}
	for _, c := range all {
		rows = append(rows, []string{c.kind, c.load, "3", strconv.Itoa(c.observers), fmt.Sprintf("%.1f", c.cpuMicros), fmt.Sprintf("%.0f", c.commits),
			fmt.Sprintf("%.1f", millis(c.lag.P50)), fmt.Sprintf("%.1f", millis(c.lag.P99))})
	}
	return w.WriteAll(rows)
}

// The drawing, in pixels. Both axes are logarithmic.
const (
	plotWidth, plotHeight = 640, 400
	plotLeft, plotTop     = 70, 50
	plotRight, plotBottom = 600, 340
)

var plotColours = map[string]string{pull: "#1f6fb2", pushWAL: "#c4511c"}
var plotNames = map[string]string{pull: "this engine (pull)", pushWAL: "hashicorp/raft (push)"}

// axis maps a value from [lo, hi] to pixels, logarithmically.
type axis struct{ lo, hi, from, to float64 }

func (a axis) at(v float64) float64 {
	return a.from + (a.to-a.from)*(math.Log(v)-math.Log(a.lo))/(math.Log(a.hi)-math.Log(a.lo))
}

// drawCosts draws leader CPU a record over the number of observers, a line for each engine.
func drawCosts(loadName string, all []cost) []byte {
	low, high := math.Inf(1), 0.0
	for _, c := range all {
		low, high = min(low, c.cpuMicros), max(high, c.cpuMicros)
	}
	x := axis{2.5, 120, plotLeft, plotRight}
	y := axis{math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high*1.01))), plotBottom, plotTop}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, plotHeight)
	text := func(x, y float64, anchor, fill, s string) {
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, fill, s)
	}
	rule := func(x1, y1, x2, y2 float64) {
		fmt.Fprintf(&b, `<line x1="%.0f" y1="%.0f" x2="%.0f" y2="%.0f" stroke="#dddddd"/>`+"\n", x1, y1, x2, y2)
	}
	text(plotLeft, 24, "start", "#222222", "Leader CPU a committed record, microseconds; 3 voters; load: "+strings.ReplaceAll(loadName, "_", " "))
	for v := y.lo; v <= y.hi*1.001; v *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if v*m <= y.hi*1.001 {
				rule(plotLeft, y.at(v*m), plotRight, y.at(v*m))
				text(plotLeft-8, y.at(v*m)+4, "end", "#444444", strconv.FormatFloat(v*m, 'f', -1, 64))
			}
		}
	}
	for _, n := range []float64{3, 10, 30, 100} {
		rule(x.at(n), plotTop, x.at(n), plotBottom)
		text(x.at(n), plotBottom+18, "middle", "#444444", strconv.Itoa(int(n)))
	}
	text((plotLeft+plotRight)/2, plotBottom+38, "middle", "#222222", "observers (non-voters)")
	for i, kind := range []string{pull, pushWAL} {
		var points []string
		for _, c := range all {
			if c.kind == kind {
				px, py := x.at(float64(c.observers)), y.at(c.cpuMicros)
				points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", px, py, plotColours[kind])
			}
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), plotColours[kind])
		text(plotLeft+12, float64(plotTop+18+18*i), "start", plotColours[kind], plotNames[kind])
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
