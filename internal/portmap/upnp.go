package portmap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// upnp speaks UPnP with an Internet Gateway Device of version 1 or 2.
type upnp struct {
	local   netip.Addr
	gateway netip.AddrPort // receives searches by unicast
	group   netip.AddrPort // receives searches by multicast
	name    string         // describes the mapping in the router's list

	service service // zero until found
	outside netip.AddrPort
}

// Codes of refusals, WANIPConnection:2 §2.5.
const (
	upnpInvalidAction  = 401
	upnpNotImplemented = 501
	upnpNoSuchEntry    = 714
	upnpConflict       = 718
	upnpPermanentOnly  = 725
	upnpSamePortsOnly  = 724
)

// maxPorts bounds the external ports that are tried when others are in use.
const maxPorts = 4

// call runs one action of the service.
func (u *upnp) call(ctx context.Context, s service, action string, arguments ...argument) (map[string]string, error) {
	header, body := soapRequest(s.kind, action, arguments)
	status, text, err := exchange(ctx, u.local, "POST", s.at, header, body)
	if err != nil {
		return nil, err
	}
	values, err := parseSOAP(text)
	if code, text := values["errorCode"], values["errorDescription"]; code != "" {
		n, _ := strconv.Atoi(code)
		return nil, &ResultError{UPnP, n, fmt.Sprintf("%s: %q", action, text)}
	}
	if status != http.StatusOK {
		return nil, &ResultError{UPnP, status, action}
	}
	return values, err
}

// address requests the external address.
func (u *upnp) address(ctx context.Context, s service) (netip.Addr, error) {
	values, err := u.call(ctx, s, "GetExternalIPAddress")
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(values["NewExternalIPAddress"])
	if err != nil || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("UPnP: the router's external address is %q", values["NewExternalIPAddress"])
	}
	return a, nil
}

// probe finds the first service that has an external address.
func (u *upnp) probe(ctx context.Context) error {
	u.service = service{}
	at, err := search(ctx, u.local, u.group, u.gateway)
	if err != nil {
		return err
	}
	status, text, err := exchange(ctx, u.local, "GET", at, nil, "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("UPnP: GET %q: status %d", at, status)
	}
	all, err := parseDescription(text, at, u.gateway.Addr())
	if err != nil {
		return fmt.Errorf("UPnP: %q: %w", at, err)
	}
	for _, s := range all {
		if _, err = u.address(ctx, s); err == nil {
			u.service = s
			return nil
		}
	}
	return err
}

func (u *upnp) check(ctx context.Context, m Mapping) error {
	outside, err := u.address(ctx, u.service)
	if err != nil {
		return err
	}
	values, err := u.call(ctx, u.service, "GetSpecificPortMappingEntry", entry(m.Outside.Port())...)
	var no *ResultError
	switch {
	case errors.As(err, &no) && no.Code != upnpNoSuchEntry:
		return nil // the router cannot report on the mapping; its address is unchanged
	case errors.As(err, &no), err == nil && values["NewInternalClient"] != m.Inside.Addr().String(), outside != m.Outside.Addr():
		return errLost
	}
	return err
}

func entry(outside uint16) []argument {
	return []argument{
		{"NewRemoteHost", ""},
		{"NewExternalPort", strconv.Itoa(int(outside))},
		{"NewProtocol", "UDP"},
	}
}

func (u *upnp) mapPort(ctx context.Context, w wish) (m Mapping, err error) {
	outside, err := u.address(ctx, u.service)
	if err != nil {
		return m, err
	}
	port, lifetime := w.outside.Port(), w.lifetime
	for range maxPorts {
		since := time.Now()
		u.outside = netip.AddrPortFrom(outside, port)
		given, err := u.add(ctx, w.inside, port, lifetime)
		var no *ResultError
		switch {
		case err == nil:
			u.outside = netip.AddrPortFrom(outside, given)
			return Mapping{UPnP, w.inside, u.outside, lifetime, since}, nil
		case !errors.As(err, &no):
			return m, err
		case no.Code == upnpPermanentOnly && lifetime != 0:
			lifetime = 0
		case no.Code == upnpSamePortsOnly && port != w.inside.Port():
			port = w.inside.Port()
		case no.Code == upnpConflict:
			port = uint16(1024 + rand.N(1<<16-1024))
		default:
			return m, err
		}
	}
	return m, &ResultError{UPnP, upnpConflict, fmt.Sprintf("%d external ports are in use", maxPorts)}
}

func (u *upnp) add(ctx context.Context, inside netip.AddrPort, outside uint16, lifetime time.Duration) (uint16, error) {
	arguments := append(entry(outside),
		argument{"NewInternalPort", strconv.Itoa(int(inside.Port()))},
		argument{"NewInternalClient", inside.Addr().String()},
		argument{"NewEnabled", "1"},
		argument{"NewPortMappingDescription", u.name},
		argument{"NewLeaseDuration", strconv.Itoa(int(lifetime / time.Second))})
	if u.service.v2() { // the router chooses another port if this one is in use
		values, err := u.call(ctx, u.service, "AddAnyPortMapping", arguments...)
		var no *ResultError
		if err == nil {
			port, err := strconv.ParseUint(values["NewReservedPort"], 10, 16)
			if err != nil || port == 0 {
				return 0, fmt.Errorf("UPnP: the router maps port %q", values["NewReservedPort"])
			}
			return uint16(port), nil
		}
		if !errors.As(err, &no) || no.Code != upnpInvalidAction && no.Code != upnpNotImplemented {
			return 0, err
		}
	}
	_, err := u.call(ctx, u.service, "AddPortMapping", arguments...)
	return outside, err
}

func (u *upnp) unmap(ctx context.Context, _ wish) error {
	if u.service.at == nil || !u.outside.IsValid() {
		return nil
	}
	_, err := u.call(ctx, u.service, "DeletePortMapping", entry(u.outside.Port())...)
	return err
}
