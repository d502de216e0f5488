// The current Go client against CIM.
//
//	go-client URL exchange SUBJECT=HEX ...  publishes the payloads, then talks to other clients as an application does
//	go-client URL publish COUNT             numbered lines, each flushed, repeated until accepted
//	go-client URL survive COUNT             numbered lines and one flush, then hears itself until it is ended
//
// Ends with 0 when everything went as the client's documentation says; says what did not, otherwise.
package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const patience = 5 * time.Second

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func want(what string, ok bool) {
	if !ok {
		fmt.Fprintf(os.Stderr, "not as expected: %s\n", what)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: go-client URL exchange SUBJECT=HEX ... | publish COUNT | survive COUNT")
		os.Exit(2)
	}
	connection, err := nats.Connect(os.Args[1], nats.Name("go"), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	must("connect", err)
	defer connection.Close()
	switch os.Args[2] {
	case "exchange":
		exchange(connection, os.Args[3:])
	case "publish", "survive":
		count, err := strconv.Atoi(os.Args[3])
		must("count", err)
		if os.Args[2] == "survive" {
			survive(connection, count)
		}
		publish(connection, count)
	}
}

func exchange(connection *nats.Conn, messages []string) {
	for _, message := range messages {
		subject, text, _ := strings.Cut(message, "=")
		payload, err := hex.DecodeString(text)
		must("payload", err)
		must("publish", connection.Publish(subject, payload))
	}
	must("flush", connection.FlushTimeout(patience))

	ack, err := connection.Request("EVENT", []byte(`{"eventName":"Acknowledged","eventTime":1}`), patience)
	must("acknowledgement of an event", err)
	want("acknowledgement: "+string(ack.Data), strings.Contains(string(ack.Data), `"stream":"EVENT"`))

	_, err = connection.Subscribe("shout.*", func(message *nats.Msg) {
		reply := nats.NewMsg(message.Reply)
		reply.Header.Set("From", message.Subject)
		reply.Data = []byte(strings.ToUpper(string(message.Data)))
		_ = connection.PublishMsg(reply)
	})
	must("subscribe", err)
	answer, err := connection.Request("shout.it", []byte("hello"), patience)
	must("request", err)
	want("answer with a header", string(answer.Data) == "HELLO" && answer.Header.Get("From") == "shout.it")

	_, err = connection.Request("nobody.there", nil, patience)
	want("no responders", errors.Is(err, nats.ErrNoResponders))

	counts := make(chan int, 200)
	for member := range 2 {
		_, err = connection.QueueSubscribe("work.>", "workers", func(*nats.Msg) { counts <- member })
		must("queue subscribe", err)
	}
	must("flush", connection.Flush())
	for range 100 {
		must("publish", connection.Publish("work.a.b", nil))
	}
	must("flush", connection.Flush())
	// Deliveries to one connection come in order: what came after this request came too often.
	_, err = connection.Request("shout.end", nil, patience)
	must("request", err)
	var seen [2]int
	for range 100 {
		select {
		case member := <-counts:
			seen[member]++
		case <-time.After(patience):
			want(fmt.Sprintf("100 messages for the group, got %v", seen), false)
		}
	}
	want("each message once", len(counts) == 0)
	want(fmt.Sprintf("both members work: %v", seen), seen[0] > 0 && seen[1] > 0)
}

func publish(connection *nats.Conn, count int) {
	for n := range count {
		line := []byte(fmt.Sprintf("line %d", n))
		for {
			reconnects := connection.Stats().Reconnects
			if connection.Publish("LOG", line) == nil && connection.FlushTimeout(patience) == nil && connection.Stats().Reconnects == reconnects {
				break
			}
		}
		fmt.Println(n)
	}
	fmt.Println("reconnects:", connection.Stats().Reconnects)
}

func survive(connection *nats.Conn, count int) {
	for n := range count {
		must("publish", connection.Publish("LOG", []byte(fmt.Sprintf("line %d", n))))
	}
	must("flush", connection.FlushTimeout(patience))
	_, err := connection.Subscribe("echo", func(message *nats.Msg) { fmt.Println("heard", string(message.Data)) })
	must("subscribe", err)
	fmt.Println("flushed")
	for n := 0; ; n++ {
		// It fails while nobody is there.
		_ = connection.Publish("echo", []byte(strconv.Itoa(n)))
		_ = connection.FlushTimeout(time.Second)
		time.Sleep(20 * time.Millisecond)
	}
}
