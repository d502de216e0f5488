// Reads a page of metrics from standard input as Prometheus reads it: with the parser of its server and with the stricter one of its
// tools. Prints how many samples there are; ends with 1 when a parser refuses the page, or when a name stands there twice with the same labels
// and timestamp, which a server drops as a duplicate.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func main() {
	page, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = check(page)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(page []byte) error {
	tool := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := tool.TextToMetricFamilies(bytes.NewReader(page)); err != nil {
		return fmt.Errorf("the parser of the tools: %w", err)
	}
	seen := map[string]bool{}
	parser := textparse.NewPromParser(page, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			fmt.Println(len(seen))
			return nil
		}
		if err != nil {
			return fmt.Errorf("the parser of the server: %w", err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, timestamp, _ := parser.Series()
		var of labels.Labels
		parser.Labels(&of)
		// An empty label is none.
		series := fmt.Sprint(of.WithoutEmpty())
		if timestamp != nil {
			series += fmt.Sprint(" ", *timestamp)
		}
		if seen[series] {
			return fmt.Errorf("twice: %s", series)
		}
		seen[series] = true
	}
}
