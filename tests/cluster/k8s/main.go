// Command k8s is every program of the test cluster's node, in one binary: they
// share nearly all of their code, so one build does for eight.
//
// The program is chosen by the name it is started by (a link named `kubectl`),
// or else by its first argument (`k8s kubectl get pods`).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// What the Corefile of the tests names; CoreDNS' own program has fifty more.
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"

	// Logs as JSON, and metrics of the client and the version, register
	// themselves where the real programs import them.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// They parse their own arguments and are no cobra commands.
const (
	etcd    = "etcd"
	coredns = "coredns"
)

var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, known := programs[name]; !known && name != etcd && name != coredns && len(os.Args) > 1 {
		// Cobra reads os.Args itself.
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	switch name {
	case etcd:
		etcdmain.Main(os.Args)
		return
	case coredns:
		coremain.Run()
		return
	}
	forgetFlagsOfCoreDNS()
	program, known := programs[name]
	if !known {
		names := []string{etcd, coredns}
		for name := range programs {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "usage: k8s PROGRAM [ARGUMENT...], where PROGRAM is %s\n", strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(cli.Run(program()))
}

// Its packages register flags when they are loaded, `-p` among them. Kubernetes'
// programs take over what is registered, and have a `-p` of their own.
func forgetFlagsOfCoreDNS() {
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	flag.CommandLine.VisitAll(func(each *flag.Flag) {
		switch each.Name {
		case "conf", "p", "dns.port", "pidfile", "plugins", "quiet", "version":
		default:
			flags.Var(each.Value, each.Name, each.Usage)
		}
	})
	flag.CommandLine = flags
}
