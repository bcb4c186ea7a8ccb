package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// askTimeout bounds a question to the broker module inside the process.
const askTimeout = 30 * time.Second

// relay puts one request frame, size included, to broker node of the module over
// a pipe and returns the response frame, size included. It works whether or not
// the broker's socket is open.
func (c *Cluster) relay(ctx context.Context, node int32, frame []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	inside, outside := net.Pipe()
	defer inside.Close()
	if err := c.brokers[node].inner().enter(ctx, outside); err != nil {
		_ = outside.Close()
		if errors.Is(err, net.ErrClosed) {
			err = c.down()
		}
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = inside.Close() })
	defer stop()
	if _, err := inside.Write(frame); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	var size [4]byte
	if _, err := io.ReadFull(inside, size[:]); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > maxProduceFrame {
		return nil, fmt.Errorf("a response of %d bytes", n)
	}
	out := make([]byte, 4+n)
	copy(out, size[:])
	if _, err := io.ReadFull(inside, out[4:]); err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return out, nil
}

// ask puts a request to broker node of the module and returns its answer.
// The caller looks at the error codes in it.
func ask[R kmsg.Response](ctx context.Context, c *Cluster, node int32, req kmsg.Request) (R, error) {
	var none R
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir-cluster")).AppendRequest(nil, req, 1)
	raw, err := c.relay(ctx, node, frame)
	if err != nil {
		return none, fmt.Errorf("ask broker %d for %s: %w", node, kmsg.NameForKey(req.Key()), err)
	}
	resp := req.ResponseKind()
	if err := decodeResponse(raw, resp); err != nil {
		return none, fmt.Errorf("ask broker %d for %s: %w", node, kmsg.NameForKey(req.Key()), err)
	}
	return resp.(R), nil
}

// decodeResponse reads a response frame, size and correlation id included.
func decodeResponse(frame []byte, resp kmsg.Response) error {
	if len(frame) < 8 {
		return io.ErrUnexpectedEOF
	}
	r := kbin.Reader{Src: frame[8:]}
	if headerTags(resp) {
		kmsg.SkipTags(&r)
	}
	return resp.ReadFrom(r.Src)
}

// encodeResponse is the inverse of decodeResponse.
func encodeResponse(corr int32, resp kmsg.Response) []byte {
	out := make([]byte, 8, 512)
	binary.BigEndian.PutUint32(out[4:], uint32(corr))
	if headerTags(resp) {
		out = append(out, 0)
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

// headerTags reports whether the response's header ends with tagged fields.
// ApiVersions is the protocol's exception: a client that does not know the
// version yet must be able to read its answer.
func headerTags(resp kmsg.Response) bool {
	return resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions)
}

// decodeRequest reads a request frame, size included.
func decodeRequest(frame []byte) (kmsg.Request, error) {
	r := kbin.Reader{Src: frame[4:]}
	key, version := r.Int16(), r.Int16()
	r.Int32() // correlation id
	r.NullableString()
	req := kmsg.RequestForKey(key)
	if req == nil || !r.Ok() {
		return nil, fmt.Errorf("request key %d cannot be read", key)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if err := req.ReadFrom(r.Src); err != nil {
		return nil, fmt.Errorf("read %s: %w", kmsg.NameForKey(key), err)
	}
	return req, nil
}

// replaceBody returns frame with its header and the body of req.
func replaceBody(frame []byte, req kmsg.Request) []byte {
	r := kbin.Reader{Src: frame[4:]}
	r.Int16()
	r.Int16()
	r.Int32()
	r.NullableString()
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	out := append([]byte(nil), frame[:len(frame)-len(r.Src)]...)
	out = req.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}
