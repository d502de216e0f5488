// A receiver of the Fluentd Forward protocol that nobody here wrote: the one of the OpenTelemetry Collector.
//
//	fluentforward LISTEN    listens there and prints each record as one JSON line: time, tag, and the record's members
//
// A chunk is acknowledged by the receiver when it has been handed over; it is printed right then.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/fluentforwardreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
)

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fluentforward LISTEN")
		os.Exit(2)
	}
	factory := fluentforwardreceiver.NewFactory()
	config := factory.CreateDefaultConfig().(*fluentforwardreceiver.Config)
	config.ListenAddress = os.Args[1]
	// A receiver that was killed may have left half a line behind.
	fmt.Println()
	printer, err := consumer.NewLogs(print)
	must("consumer", err)
	settings := receiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	logs, err := factory.CreateLogs(context.Background(), settings, config, printer)
	must("receiver", err)
	must("start", logs.Start(context.Background(), componenttest.NewNopHost()))
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	must("shutdown", logs.Shutdown(context.Background()))
}

var output sync.Mutex

func print(_ context.Context, logs plog.Logs) error {
	output.Lock()
	defer output.Unlock()
	writer := bufio.NewWriter(os.Stdout)
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				line := record.Attributes().AsRaw()
				if record.Body().Type() != 0 {
					line["log"] = record.Body().AsRaw()
				}
				line["time_ns"] = int64(record.Timestamp())
				text, err := json.Marshal(line)
				if err != nil {
					return err
				}
				writer.Write(append(text, '\n'))
			}
		}
	}
	return writer.Flush()
}
