// An application beside CIM: it greets once a second, and lives on the configuration it is given.
//
// It knows only localhost. Over NATS it publishes log lines (LOG), events (EVENT) and the results of changes (CONFIG), and
// hears of the events of others (EVENT-NOTIFICATION). Over HTTP it registers with CIM, and CIM calls it.
//
// Environment, all optional: NATS_URL, CIM_URL, PORT (where CIM calls), CONTAINER_ID.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/nats-io/nats.go"
)

const name = "greeter"

var (
	natsURL     = cmp.Or(os.Getenv("NATS_URL"), "nats://localhost:4222")
	cimURL      = cmp.Or(os.Getenv("CIM_URL"), "http://localhost:6060")
	port        = cmp.Or(os.Getenv("PORT"), "9999")
	containerID = os.Getenv("CONTAINER_ID")
)

type application struct {
	nats  *nats.Conn
	ended chan struct{}
	end   sync.Once

	mutex  sync.Mutex
	config map[string]json.RawMessage
}

// change is the body of /updateConfig: all members are texts.
type change struct {
	Key      string `json:"change-set-key"`
	DataKey  string `json:"data-key"`
	Patch    string `json:"config-patch"`
	Revision string `json:"revision"`
}

func main() {
	log.SetFlags(0)
	app := &application{
		ended:  make(chan struct{}),
		config: map[string]json.RawMessage{"greeter.json": json.RawMessage(`{"greeting":"nothing"}`)},
	}
	var err error
	// For ever: the sidecar may be away for a moment, and is never replaced by another.
	app.nats, err = nats.Connect(natsURL, nats.Name(name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(200*time.Millisecond))
	must(err)
	// Before the registration: CIM calls as soon as it knows the application.
	listener, err := net.Listen("tcp", "localhost:"+port)
	must(err)
	go func() { must(http.Serve(listener, app.calls())) }()
	register()
	// In this order: CIM sends as soon as there is a subscription.
	_, err = app.nats.Subscribe("EVENT-NOTIFICATION", func(message *nats.Msg) {
		fmt.Println("notified:", string(message.Data))
	})
	must(err)
	subscribe("Greeted")
	// Asks for the configuration; whoever has kept one says "Configured" instead.
	app.publish("EVENT", eventMessage("NotConfigured", containerID))
	app.greet()
	app.log("INFO", "goodbye")
	// The last word: CIM stops waiting for this application.
	app.publish("EVENT", eventMessage("ShutdownSuccess", containerID))
	app.nats.Close()
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func (app *application) greet() {
	for number := 1; ; number++ {
		app.log("INFO", fmt.Sprintf("%s %d", app.greeting(), number))
		app.publish("EVENT", eventMessage("Greeted", containerID, keyValue{"number", strconv.Itoa(number)}))
		select {
		case <-app.ended:
			return
		case <-time.After(time.Second):
		}
	}
}

func (app *application) greeting() string {
	app.mutex.Lock()
	defer app.mutex.Unlock()
	var document struct{ Greeting string }
	if err := json.Unmarshal(app.config["greeter.json"], &document); err != nil {
		return err.Error()
	}
	return document.Greeting
}

// calls is what CIM calls.
func (app *application) calls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /updateConfig", func(answer http.ResponseWriter, request *http.Request) {
		var change change
		if err := json.NewDecoder(request.Body).Decode(&change); err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		status, remarks := "success", ""
		if err := app.apply(change); err != nil {
			status, remarks = "failure", err.Error()
		}
		// The result of a change is published before its call is answered.
		result, _ := json.Marshal(map[string]string{
			"change-set-key": change.Key, "revision": change.Revision, "status": status, "remarks": remarks,
		})
		app.publish("CONFIG", result)
	})
	mux.HandleFunc("POST /api/v1/_operations/loadConfig", func(answer http.ResponseWriter, request *http.Request) {
		var documents map[string]json.RawMessage
		if err := json.NewDecoder(request.Body).Decode(&documents); err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		app.mutex.Lock()
		maps.Copy(app.config, documents)
		app.mutex.Unlock()
		app.publish("EVENT", eventMessage("Configured", containerID))
	})
	mux.HandleFunc("POST /api/v1/_operations/shutdown", func(http.ResponseWriter, *http.Request) {
		app.end.Do(func() { close(app.ended) })
	})
	return mux
}

func (app *application) apply(change change) error {
	patch, err := jsonpatch.DecodePatch([]byte(change.Patch))
	if err != nil {
		return err
	}
	app.mutex.Lock()
	defer app.mutex.Unlock()
	document, known := app.config[change.DataKey]
	if !known {
		return fmt.Errorf("no document %s", change.DataKey)
	}
	patched, err := patch.Apply(document)
	if err == nil {
		app.config[change.DataKey] = patched
	}
	return err
}

func (app *application) log(level, text string) {
	now := time.Now().UTC().Format(time.RFC3339)
	app.publish("LOG", logMessage(containerID, name, fmt.Sprintf("[%s][%s][-]-%s", now, level, text)))
}

// publish returns when CIM has accepted the message. A flush that fails, or a connection that was lost on the way, proves
// nothing, so the message is sent again.
func (app *application) publish(subject string, message []byte) {
	for {
		reconnects := app.nats.Stats().Reconnects
		if app.nats.Publish(subject, message) == nil && app.nats.FlushTimeout(2*time.Second) == nil &&
			app.nats.Stats().Reconnects == reconnects {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func register() {
	for {
		body := map[string]string{"container_name": name, "container_id": containerID}
		status, answer := post("/api/v1/_operations/xgvela/register", body)
		if status == http.StatusOK {
			fmt.Println("registered:", answer["status"])
			return
		}
		time.Sleep(500 * time.Millisecond) // CIM is starting, or does not know yet who the pod is
	}
}

func subscribe(names ...string) {
	status, answer := post("/api/v1/_operations/event/subscriptions", map[string][]string{"localEventName": names})
	if status != http.StatusOK {
		fmt.Println("not subscribed: CIM answered", status)
		return
	}
	fmt.Println("subscribed:", answer["subscriptionId"])
}

// post tells the status, 0 when there was no answer.
func post(path string, body any) (int, map[string]any) {
	text, _ := json.Marshal(body)
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Post(cimURL+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(response.Body).Decode(&answer)
	return response.StatusCode, answer
}
