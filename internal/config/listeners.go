package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Listener is one NAME://host:port. Names are upper case, as Kafka registers them.
type Listener struct {
	Name     string
	Host     string // "" is every address of the machine
	Port     int32  // 0 lets the system choose
	Protocol string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
}

// String is the listener as it stands in `listeners`.
func (l Listener) String() string {
	return fmt.Sprintf("%s://%s", l.Name, JoinHostPort(l.Host, l.Port))
}

// ProtocolCode is Kafka's number of the security protocol.
func (l Listener) ProtocolCode() int16 { return protocolCodes[l.Protocol] }

var protocolCodes = map[string]int16{"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}

// ListenerSet is where a node listens and what it tells others.
type ListenerSet struct {
	Bind        []Listener // in the order of `listeners`
	Advertised  []Listener // of Bind's names; Bind itself where advertised.listeners isn't set
	Controller  []string   // controller.listener.names: the first is how this node reaches controllers
	InterBroker string     // how brokers reach each other
	Protocols   map[string]string
}

// IsController tells whether name is a controller listener.
func (s *ListenerSet) IsController(name string) bool { return slices.Contains(s.Controller, name) }

// BrokerAdvertised are the advertised listeners without the controllers'.
func (s *ListenerSet) BrokerAdvertised() []Listener { return s.advertised(false) }

// ControllerAdvertised are the advertised controller listeners, in the order of controller.listener.names.
func (s *ListenerSet) ControllerAdvertised() []Listener {
	out := s.advertised(true)
	slices.SortStableFunc(out, func(a, b Listener) int {
		return slices.Index(s.Controller, a.Name) - slices.Index(s.Controller, b.Name)
	})
	return out
}

func (s *ListenerSet) advertised(controller bool) (out []Listener) {
	for _, l := range s.Advertised {
		if s.IsController(l.Name) == controller {
			out = append(out, l)
		}
	}
	return out
}

var listenerForm = regexp.MustCompile(`^([^:/\s]+)://(?:\[([0-9a-zA-Z:%.]*)\]|([0-9a-zA-Z\-._]*)):([0-9]{1,5})$`)

// ParseListeners reads a list of NAME://host:port. Protocols gives each name its security protocol.
func ParseListeners(value string, protocols map[string]string) ([]Listener, error) {
	var out []Listener
	for _, item := range SplitList(value) {
		m := listenerForm.FindStringSubmatch(item)
		if m == nil {
			return nil, fmt.Errorf("%q is not NAME://host:port", abbreviate(item))
		}
		port, err := parsePort(m[4], 0)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", abbreviate(item), err)
		}
		l := Listener{Name: strings.ToUpper(m[1]), Host: m[2] + m[3], Port: port}
		if l.Protocol = protocols[l.Name]; l.Protocol == "" {
			return nil, fmt.Errorf("%q: %s is not in %s: add %s:PLAINTEXT to it", item, l.Name, ListenerSecurityProtocolMap, l.Name)
		}
		if slices.ContainsFunc(out, func(o Listener) bool { return o.Name == l.Name }) {
			return nil, fmt.Errorf("listener name %s is there twice: give each its own", l.Name)
		}
		out = append(out, l)
	}
	return out, nil
}

// ParseProtocolMap reads NAME:PROTOCOL,….
func ParseProtocolMap(value string) (map[string]string, error) {
	out := map[string]string{}
	for _, item := range SplitList(value) {
		name, protocol, ok := strings.Cut(item, ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not NAME:PROTOCOL", abbreviate(item))
		}
		if _, known := protocolCodes[protocol]; !known {
			return nil, fmt.Errorf("%q: protocol must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", abbreviate(item))
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("listener name %s is there twice", name)
		}
		out[name] = protocol
	}
	return out, nil
}

// Listeners reads the five settings of listeners together and checks them by Kafka's rules for the roles.
func (c *Config) Listeners() (*ListenerSet, error) {
	s := &ListenerSet{}
	for _, n := range c.List(ControllerListenerNames) {
		s.Controller = append(s.Controller, strings.ToUpper(n))
	}
	if len(s.Controller) == 0 {
		return nil, c.bad(ControllerListenerNames, "must name at least one listener, by which controllers are reached")
	}
	var err error
	if s.Protocols, err = ParseProtocolMap(c.String(ListenerSecurityProtocolMap)); err != nil {
		return nil, c.wrap(ListenerSecurityProtocolMap, err)
	}
	if !c.IsSet(ListenerSecurityProtocolMap) { // Kafka's default for controllers without a map
		for _, n := range s.Controller {
			if s.Protocols[n] == "" {
				s.Protocols[n] = "PLAINTEXT"
			}
		}
	}
	if s.Bind, err = ParseListeners(c.String(Listeners), s.Protocols); err != nil {
		return nil, c.wrap(Listeners, err)
	}
	s.Advertised = s.Bind
	if c.IsSet(AdvertisedListeners) {
		if s.Advertised, err = ParseListeners(c.String(AdvertisedListeners), s.Protocols); err != nil {
			return nil, c.wrap(AdvertisedListeners, err)
		}
		s.fillAdvertised(c)
	}
	if err := c.checkBind(s); err != nil {
		return nil, err
	}
	return s, c.checkAdvertised(s)
}

// fillAdvertised advertises a controller listener as it is bound where advertised.listeners leaves it out.
func (s *ListenerSet) fillAdvertised(c *Config) {
	for _, l := range s.Bind {
		if c.IsController() && s.IsController(l.Name) && !slices.ContainsFunc(s.Advertised, func(a Listener) bool { return a.Name == l.Name }) {
			s.Advertised = append(s.Advertised, l)
		}
	}
}

func (c *Config) bad(key, way string) error {
	return &Error{Key: key, Value: abbreviate(c.String(key)), Reason: way, Way: way}
}

func (c *Config) wrap(key string, err error) error {
	return fmt.Errorf("property %s: %w", key, err)
}

func (c *Config) checkBind(s *ListenerSet) error {
	if len(s.Bind) == 0 {
		return c.bad(Listeners, "must have at least one listener")
	}
	hasController := slices.ContainsFunc(s.Bind, func(l Listener) bool { return s.IsController(l.Name) })
	for i, l := range s.Bind {
		switch {
		case l.Protocol != "PLAINTEXT":
			return c.bad(Listeners, fmt.Sprintf("listener %s has security protocol %s: only PLAINTEXT is supported", l.Name, l.Protocol))
		case l.Port != 0 && slices.ContainsFunc(s.Bind[:i], func(o Listener) bool { return o.Port == l.Port && overlap(o.Host, l.Host) }):
			return c.bad(Listeners, fmt.Sprintf("port %d is there twice: each listener must have a different port", l.Port))
		case !c.IsController() && s.IsController(l.Name):
			return c.bad(Listeners, fmt.Sprintf("%s is in %s, and this node is no controller: remove it", l.Name, ControllerListenerNames))
		case !c.IsBroker() && !s.IsController(l.Name):
			return c.bad(Listeners, fmt.Sprintf("%s is not in %s, and this node is no broker: remove it", l.Name, ControllerListenerNames))
		}
	}
	if c.IsController() && !hasController {
		return c.bad(Listeners, fmt.Sprintf("must have one of %s, %s, since this node is a controller", ControllerListenerNames, strings.Join(s.Controller, ",")))
	}
	return nil
}

// overlap tells whether two hosts may be the same address.
func overlap(a, b string) bool {
	wild := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	return a == b || wild(a) || wild(b)
}

func (c *Config) checkAdvertised(s *ListenerSet) error {
	for _, l := range s.Advertised {
		if c.IsSet(AdvertisedListeners) && (l.Host == "0.0.0.0" || l.Host == "::") {
			return c.bad(AdvertisedListeners, fmt.Sprintf("%s can't be reached at %s: use an address that clients can route to", l.Name, l.Host))
		}
		if !slices.ContainsFunc(s.Bind, func(b Listener) bool { return b.Name == l.Name }) {
			return c.bad(AdvertisedListeners, fmt.Sprintf("%s is not in listeners: add it there or remove it here", l.Name))
		}
	}
	if !c.IsBroker() {
		return nil
	}
	s.InterBroker = strings.ToUpper(c.String(InterBrokerListenerName))
	key := InterBrokerListenerName
	if s.InterBroker == "" {
		s.InterBroker, key = c.String(SecurityInterBrokerProtocol), SecurityInterBrokerProtocol
	} else if c.IsSet(SecurityInterBrokerProtocol) {
		return c.bad(SecurityInterBrokerProtocol, "only one of it and inter.broker.listener.name may be set: remove it")
	}
	if !slices.ContainsFunc(s.BrokerAdvertised(), func(l Listener) bool { return l.Name == s.InterBroker }) {
		return c.bad(key, fmt.Sprintf("%s is not among the broker's advertised listeners: set %s to one of them", s.InterBroker, InterBrokerListenerName))
	}
	return nil
}

func parsePort(s string, least uint64) (int32, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < least {
		return 0, fmt.Errorf("port %q: must be in [%d,...,65535]", abbreviate(s), least)
	}
	return int32(n), nil
}

// SplitHostPort reads host:port or [host]:port; the port is in [1,65535].
func SplitHostPort(s string) (host string, port int32, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, fmt.Errorf("%q is not host:port", abbreviate(s))
	}
	host = s[:i]
	if in, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(in, "]") {
		host = in[:len(in)-1]
	} else if strings.ContainsAny(host, ":[] ") {
		return "", 0, fmt.Errorf("%q is not host:port: put an IPv6 address in []", abbreviate(s))
	}
	port, err = parsePort(s[i+1:], 1)
	return host, port, err
}

// JoinHostPort is the inverse of SplitHostPort.
func JoinHostPort(host string, port int32) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}
