//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs a cluster's certificates. Every cluster has one of its own; it lives as long as the cluster.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// identity is a certificate with its key, both PEM.
type identity struct{ cert, key []byte }

const certLife = 10 * 365 * 24 * time.Hour

func newAuthority(cluster string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	template, err := certTemplate(pkix.Name{CommonName: "localkube-" + cluster})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	return &authority{cert: cert, key: key, pem: pemBlock("CERTIFICATE", der)}, nil
}

func certTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife)}, nil
}

// issue makes a certificate for a client (user and groups as RBAC sees them) and, where names are given, a server.
func (a *authority) issue(user string, groups []string, names ...string) (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, fmt.Errorf("making the key of %s: %w", user, err)
	}
	template, err := certTemplate(pkix.Name{CommonName: user, Organization: groups})
	if err != nil {
		return identity{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(names) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return identity{}, fmt.Errorf("making the certificate of %s: %w", user, err)
	}
	keyPEM, err := keyBlock(key)
	return identity{cert: pemBlock("CERTIFICATE", der), key: keyPEM}, err
}

func keyBlock(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pemBlock("EC PRIVATE KEY", der), nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// kubeconfig is a client's configuration with everything inline.
func (id identity) kubeconfig(cluster, server string, ca []byte) string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: localkube-%[1]s
  cluster: {server: "%[2]s", certificate-authority-data: %[3]s}
users:
- name: localkube-%[1]s
  user: {client-certificate-data: %[4]s, client-key-data: %[5]s}
contexts:
- name: localkube-%[1]s
  context: {cluster: localkube-%[1]s, user: localkube-%[1]s}
current-context: localkube-%[1]s
`, cluster, server, b64(ca), b64(id.cert), b64(id.key))
}

// writePKI makes all credentials of a cluster and writes them, readable by root only.
func (c *Cluster) writePKI() error {
	ca, err := newAuthority(c.Name)
	if err != nil {
		return err
	}
	caKey, err := keyBlock(ca.key)
	if err != nil {
		return err
	}
	saKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the service accounts' key: %w", err)
	}
	saPEM, err := keyBlock(saKey)
	if err != nil {
		return err
	}
	w := &fileWriter{}
	w.write(c.path("pki", "ca.crt"), ca.pem)
	w.write(c.path("pki", "ca.key"), caKey)
	w.write(c.path("pki", "service-accounts.key"), saPEM)
	issue := func(user string, groups []string, names ...string) identity {
		id, err := ca.issue(user, groups, names...)
		w.note(err)
		return id
	}
	pair := func(file string, id identity) {
		w.write(c.path("pki", file+".crt"), id.cert)
		w.write(c.path("pki", file+".key"), id.key)
	}
	client := func(path, user string, groups ...string) {
		w.write(path, []byte(issue(user, groups).kubeconfig(c.Name, c.apiURL(), ca.pem)))
	}
	pair("apiserver", issue("kube-apiserver", nil, c.apiNames()...))
	pair("apiserver-kubelet-client", issue(kubeletClientUser, nil))
	// Whom aggregated API servers, and the controllers' own endpoints, believe when it names a user.
	front, err := newAuthority(c.Name + "-front-proxy")
	if err != nil {
		return err
	}
	proxy, err := front.issue(frontProxyUser, nil)
	if err != nil {
		return err
	}
	w.write(c.path("pki", "front-proxy-ca.crt"), front.pem)
	pair("front-proxy-client", proxy)
	client(c.kubeconfig(), "localkube-admin", "system:masters")
	client(c.path("pki", "controller-manager.kubeconfig"), "system:kube-controller-manager")
	client(c.path("pki", "scheduler.kubeconfig"), "system:kube-scheduler")
	client(c.path("pki", "provisioner.kubeconfig"), provisionerUser)
	for n := 1; n <= c.Nodes; n++ {
		dir := c.nodePath(n, "var", "lib", "localkube")
		w.write(filepath.Join(dir, "ca.crt"), ca.pem)
		serving := issue("system:node:"+nodeName(n), []string{"system:nodes"}, c.nodeAddr(n), nodeName(n))
		w.write(filepath.Join(dir, "kubelet.crt"), serving.cert)
		w.write(filepath.Join(dir, "kubelet.key"), serving.key)
		client(filepath.Join(dir, "kubelet.kubeconfig"), "system:node:"+nodeName(n), "system:nodes")
		client(filepath.Join(dir, "kube-proxy.kubeconfig"), "system:kube-proxy")
	}
	return w.err
}

// fileWriter writes files with their folders and keeps the first error.
type fileWriter struct{ err error }

func (w *fileWriter) note(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *fileWriter) write(path string, data []byte) {
	if w.err != nil {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.note(fmt.Errorf("making a folder: %w", err))
		return
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.note(fmt.Errorf("writing a file: %w", err))
	}
}

// apiNames is what clients may call the API server.
func (c *Cluster) apiNames() []string {
	return []string{c.apiAddr(), c.serviceAPI(), "127.0.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + c.Domain}
}

// reissueAPICert writes the API server's certificate again for its present names. It reads the file anew by itself.
func (c *Cluster) reissueAPICert() error {
	pair, err := tls.LoadX509KeyPair(c.path("pki", "ca.crt"), c.path("pki", "ca.key"))
	if err != nil {
		return fmt.Errorf("reading the cluster's authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return errors.New("the cluster's authority has a key of another kind than this program makes")
	}
	id, err := (&authority{cert: pair.Leaf, key: key}).issue("kube-apiserver", nil, c.apiNames()...)
	if err != nil {
		return err
	}
	w := &fileWriter{}
	w.write(c.path("pki", "apiserver.key"), id.key)
	w.write(c.path("pki", "apiserver.crt"), id.cert)
	return w.err
}
