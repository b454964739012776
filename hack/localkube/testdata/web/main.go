// Command web is the pod of the end-to-end test: it keeps a file on its volume and tells what it sees.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const kept = "/data/first"

func main() {
	host, _ := os.Hostname()
	if _, err := os.Stat("/data"); err == nil {
		f, err := os.OpenFile(kept, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(host)
		}
		if err != nil && !os.IsExist(err) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	http.HandleFunc("/name", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, host) })
	http.HandleFunc("/first", func(w http.ResponseWriter, _ *http.Request) {
		data, err := os.ReadFile(kept)
		answer(w, string(data), err)
	})
	http.HandleFunc("/lookup", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		addrs, err := net.DefaultResolver.LookupHost(ctx, r.FormValue("name"))
		answer(w, strings.Join(addrs, " "), err)
	})
	http.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		client := &http.Client{Timeout: 3 * time.Second}
		resp, err := client.Get(r.FormValue("url"))
		if err != nil {
			answer(w, "", err)
			return
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		answer(w, string(data), err)
	})
	server := &http.Server{Addr: ":8080", ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

func answer(w http.ResponseWriter, text string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprint(w, text)
}
