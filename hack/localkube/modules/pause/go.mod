module github.com/kraft-dev/kraft-operator/hack/localkube/modules/pause

go 1.26.0
