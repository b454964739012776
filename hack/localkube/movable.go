//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Movable volumes play a cloud's network disks. The controller manager's attach-detach controller decides where each
// is attached, with all that this brings in a real cluster: a second node is refused (Multi-Attach error) until the
// first has detached, and a node that is lost keeps its disks for six minutes, unless an administrator taints it
// node.kubernetes.io/out-of-service. It and the kubelets call this program as a FlexVolume driver. The holder's name
// stands in a file beside the volume's folder; attaching and mounting are refused to any other node.
const (
	movableDriver  = "localkube.kraft.dev/movable"
	movableOption  = "volume"
	movableCommand = "movable-driver"
	volumeNameKey  = "kubernetes.io/pvOrVolumeName"
)

var errAttached = errors.New("attached to another node")

// driverReply is a FlexVolume driver's answer, one line of JSON.
type driverReply struct {
	Status       string          `json:"status"`
	Message      string          `json:"message,omitempty"`
	Device       string          `json:"device,omitempty"`
	VolumeName   string          `json:"volumeName,omitempty"`
	Attached     bool            `json:"attached,omitempty"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
}

// runMovableDriver answers one call. folder is where the volumes are; node is the node that it runs on, "" beside the
// controller manager.
func runMovableDriver(folder, node string, args []string, out io.Writer) error {
	d := &movable{folder: folder, node: node}
	reply, err := d.call(args)
	if err != nil {
		reply = driverReply{Status: "Failure", Message: err.Error()}
	} else if reply.Status == "" {
		reply.Status = "Success"
	}
	return json.NewEncoder(out).Encode(reply)
}

type movable struct{ folder, node string }

func (d *movable) call(args []string) (driverReply, error) {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch arg(0) {
	case "init":
		return driverReply{Capabilities: map[string]bool{"attach": true, "fsGroup": true, "selinuxRelabel": false}}, nil
	case "getvolumename":
		id, err := volumeID(arg(1))
		return driverReply{VolumeName: id}, err
	case "attach": // options, node
		id, err := volumeID(arg(1))
		if err != nil {
			return driverReply{}, err
		}
		return driverReply{Device: d.device(id)}, d.attach(id, arg(2))
	case "isattached": // options, node
		id, err := volumeID(arg(1))
		if err != nil {
			return driverReply{}, err
		}
		holder, err := readHolder(d.device(id))
		return driverReply{Attached: err == nil && holder == arg(2)}, err
	case "waitforattach": // device, options
		id, err := volumeID(arg(2))
		if err != nil {
			return driverReply{}, err
		}
		return driverReply{Device: d.device(id)}, d.held(id)
	case "mountdevice": // folder to mount on, device, options
		id, err := volumeID(arg(3))
		if err != nil {
			return driverReply{}, err
		}
		return driverReply{}, d.mount(id, arg(1))
	case "unmountdevice": // folder
		return driverReply{}, unmount(arg(1))
	case "detach": // volume name, node
		return driverReply{}, d.detach(arg(1), arg(2))
	default:
		return driverReply{Status: "Not supported", Message: arg(0)}, nil
	}
}

// volumeID reads the volume's name out of the options that each call carries.
func volumeID(options string) (string, error) {
	var o map[string]string
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return "", fmt.Errorf("reading the volume's options: %w", err)
	}
	id := o[movableOption]
	if id == "" {
		id = o[volumeNameKey]
	}
	return id, checkVolumeID(id)
}

func checkVolumeID(id string) error {
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return fmt.Errorf("volume name %q isn't a file name", id)
	}
	return nil
}

func (d *movable) device(id string) string { return filepath.Join(d.folder, id) }

func holderFile(device string) string { return device + ".holder" }

// readHolder is the node that a volume is attached to, "" if none.
func readHolder(device string) (string, error) {
	data, err := os.ReadFile(holderFile(device))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading who holds the volume: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// attach makes node the holder. The file is linked into place whole, so of two that try at once one is refused.
func (d *movable) attach(id, node string) error {
	device := d.device(id)
	if fi, err := os.Stat(device); err != nil || !fi.IsDir() {
		return fmt.Errorf("volume %s has no folder", id)
	}
	tmp, err := os.CreateTemp(d.folder, ".attach-")
	if err != nil {
		return fmt.Errorf("attaching %s: %w", id, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.WriteString(node)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("attaching %s: %w", id, err)
	}
	err = os.Link(tmp.Name(), holderFile(device))
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	holder, err := readHolder(device)
	if err == nil && holder != node {
		return fmt.Errorf("volume %s is held by %s: %w", id, holder, errAttached)
	}
	return err
}

// detach takes the volume from node. One that node doesn't hold is left as it is: detaching twice is no error.
func (d *movable) detach(id, node string) error {
	if err := checkVolumeID(id); err != nil {
		return err
	}
	holder, err := readHolder(d.device(id))
	if err != nil || holder != node {
		return err
	}
	return os.Remove(holderFile(d.device(id)))
}

// held checks that this node holds the volume.
func (d *movable) held(id string) error {
	holder, err := readHolder(d.device(id))
	if err != nil {
		return err
	}
	if holder != d.node {
		return fmt.Errorf("volume %s is held by %q, not by %s: %w", id, holder, d.node, errAttached)
	}
	return nil
}

func (d *movable) mount(id, target string) error {
	if err := d.held(id); err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return fmt.Errorf("mounting %s: %w", id, err)
	}
	if err := unix.Mount(d.device(id), target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", id, target, err)
	}
	return nil
}

func unmount(target string) error {
	if err := unix.Unmount(target, 0); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unmounting %s: %w", target, err)
	}
	return nil
}
