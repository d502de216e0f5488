// The last Go client under its old name (v1.7.2, 2019: no headers) against CIM.
//
//	go-old-client URL exchange SUBJECT=HEX ...  publishes the payloads, then talks to other clients as an application does
//	go-old-client URL publish COUNT             numbered lines, each flushed, repeated until accepted
//	go-old-client URL survive COUNT             numbered lines and one flush, then hears itself until it is ended
//
// Ends with 0 when everything went as the client's documentation says; says what did not, otherwise.
package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/go-nats"
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
		fmt.Fprintln(os.Stderr, "usage: go-old-client URL exchange SUBJECT=HEX ... | publish COUNT | survive COUNT")
		os.Exit(2)
	}
	connection, err := nats.Connect(os.Args[1], nats.Name("go-old"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	must("connect", err)
	defer connection.Close()
	want("the largest payload of INFO", connection.MaxPayload() == 1<<20)
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
		_ = connection.Publish(message.Reply, []byte(strings.ToUpper(string(message.Data))))
	})
	must("subscribe", err)
	answer, err := connection.Request("shout.it", []byte("hello"), patience)
	must("request", err)
	want("answer: "+string(answer.Data), string(answer.Data) == "HELLO")

	var seen [2]int
	workers := make(chan int, 200)
	for member := range 2 {
		_, err = connection.QueueSubscribe("work.>", "workers", func(*nats.Msg) { workers <- member })
		must("queue subscribe", err)
	}
	for range 100 {
		must("publish", connection.Publish("work.a.b", nil))
	}
	for range 100 {
		select {
		case member := <-workers:
			seen[member]++
		case <-time.After(patience):
			want(fmt.Sprintf("100 messages for the group, got %v", seen), false)
		}
	}
	want(fmt.Sprintf("both members work: %v", seen), seen[0] > 0 && seen[1] > 0)

	once, err := connection.SubscribeSync("once")
	must("subscribe", err)
	must("unsubscribe after one", once.AutoUnsubscribe(1))
	for range 2 {
		must("publish", connection.Publish("once", nil))
	}
	_, err = once.NextMsg(patience)
	must("one message", err)
	must("flush", connection.FlushTimeout(patience))
	_, err = once.NextMsg(patience)
	want(fmt.Sprintf("no second message: %v", err), err == nats.ErrMaxMessages || err == nats.ErrBadSubscription)
	want("payloads above the limit are refused here", connection.Publish("LOG", make([]byte, 1<<20+1)) == nats.ErrMaxPayload)
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
