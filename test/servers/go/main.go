// SPDX-License-Identifier: MPL-2.0

// An HTTP server on Go's net/http, and its clients:
//
//	go_http serve ADDRESS                                   until SIGTERM, then an orderly shutdown
//	go_http clients ADDRESS COUNT SECONDS keep|close        exit status 0 if every answer was right
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func serve(address string) {
	server := &http.Server{Addr: address}
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(body)
	})
	// Proves that interfaces can be listed, which Go does by netlink.
	if _, err := net.Interfaces(); err != nil {
		log.Fatal("net.Interfaces: ", err)
	}
	stopped := make(chan struct{})
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		<-signals
		if err := server.Shutdown(context.Background()); err != nil {
			log.Fatal("Shutdown: ", err)
		}
		close(stopped)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-stopped
}

// One client asks until the deadline; returns how often.
func ask(client *http.Client, address string, number int, deadline time.Time) (int, error) {
	for turns := 0; ; turns++ {
		if turns > 0 && time.Now().After(deadline) {
			return turns, nil
		}
		body := bytes.Repeat([]byte{byte('a' + number%26)}, 1+(number*97+turns*31)%4000)
		response, err := client.Post("http://"+address+"/echo", "application/octet-stream", bytes.NewReader(body))
		if err != nil {
			return turns, err
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return turns, err
		}
		if response.StatusCode != http.StatusOK || !bytes.Equal(answer, body) {
			return turns, fmt.Errorf("client %d: a wrong answer: %s", number, response.Status)
		}
	}
}

func clients(address string, count int, seconds float64, keep bool) {
	transport := &http.Transport{MaxIdleConnsPerHost: count, DisableKeepAlives: !keep}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	begun := time.Now()
	deadline := begun.Add(time.Duration(seconds * float64(time.Second)))
	turns := make([]int, count)
	var all sync.WaitGroup
	for i := 0; i < count; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			var err error
			if turns[i], err = ask(client, address, i, deadline); err != nil {
				log.Fatal(err)
			}
		}(i)
	}
	all.Wait()
	transport.CloseIdleConnections()
	sum := 0
	for _, n := range turns {
		sum += n
	}
	fmt.Printf("%d requests, %.0f per second\n", sum, float64(sum)/time.Since(begun).Seconds())
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		serve(os.Args[2])
		return
	}
	if len(os.Args) != 6 || os.Args[1] != "clients" {
		log.Fatal("usage: go_http serve ADDRESS | clients ADDRESS COUNT SECONDS keep|close")
	}
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	seconds, err := strconv.ParseFloat(os.Args[4], 64)
	if err != nil {
		log.Fatal(err)
	}
	clients(os.Args[2], count, seconds, os.Args[5] == "keep")
}
