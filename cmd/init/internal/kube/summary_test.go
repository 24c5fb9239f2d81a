package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	c := testServer(t, map[string]string{
		"/api/v1/nodes": `{"items":[{"metadata":{"name":"n1","annotations":{"secret":"hidden"}},"status":{"conditions":[
			{"type":"Ready","status":"False","reason":"NotReady","message":"two\nlines"}]}}]}`,
		"/api/v1/pods": `{"items":[{"metadata":{"namespace":"a","name":"p"},"spec":{"nodeName":"n1","containers":[{"env":[{"value":"hidden"}]}]},
			"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[
			{"name":"x","ready":false,"restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}}},{"name":"y","ready":true,"state":{"terminated":{"exitCode":7}}}]}}]}`,
	})
	nodes, err := c.AllNodes(context.Background())
	if want := "n1\n  Ready=False NotReady two lines\n"; nodes != want || err != nil {
		t.Errorf("%q, %v, want %q", nodes, err, want)
	}
	pods, err := c.AllPods(context.Background())
	want := "a/p Running n1\n  Ready=True  \n  container x ready=false restarts=3 waiting CrashLoopBackOff exit=0\n  container y ready=true restarts=0 terminated  exit=7\n"
	if pods != want || err != nil {
		t.Errorf("%q, %v, want %q", pods, err, want)
	}
}

func TestSummaryPages(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked > 0 && r.URL.Query().Get("continue") != fmt.Sprint(asked) || r.URL.Query().Get("limit") != "50" {
			t.Errorf("asked for %s", r.URL)
		}
		asked++
		fmt.Fprintf(w, `{"metadata":{"continue":"%d"},"items":[%s{"metadata":{"name":"last"}}]}`, asked, strings.Repeat(`{"metadata":{"name":"x"}},`, 49))
	}))
	t.Cleanup(srv.Close)
	got, err := NewClient(Credentials{Server: srv.URL}).AllNodes(context.Background())
	if n := strings.Count(got, "\n"); n != summaryMax+1 || !strings.HasSuffix(got, "last\n(and more)\n") || err != nil {
		t.Errorf("%d lines in %d pages, %v", n, asked, err)
	}
	if got, err := testServer(t, map[string]string{"/api/v1/nodes": ""}).AllNodes(context.Background()); got != "" || err == nil {
		t.Errorf("a server that fails: %q, %v", got, err)
	}
}
