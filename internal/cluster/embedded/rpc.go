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

// rpcTimeout bounds a request to the broker module inside the process.
const rpcTimeout = 30 * time.Second

// rpc sends a request to broker node of the module over a pipe and returns the response.
// It works whether or not the broker's socket is open. The caller checks the error codes.
func rpc[R kmsg.Response](ctx context.Context, c *Cluster, node int32, req kmsg.Request) (_ R, err error) {
	var none R
	defer func() {
		if err != nil {
			err = fmt.Errorf("ask broker %d for %s: %w", node, kmsg.NameForKey(req.Key()), err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	inside, outside := net.Pipe()
	defer inside.Close()
	if err := c.brokers[node].inner().enter(ctx, outside); err != nil {
		_ = outside.Close()
		if errors.Is(err, net.ErrClosed) {
			err = c.down()
		}
		return none, err
	}
	defer context.AfterFunc(ctx, func() { _ = inside.Close() })()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir-cluster")).AppendRequest(nil, req, 1)
	if _, err := inside.Write(frame); err != nil {
		return none, errors.Join(err, ctx.Err())
	}
	raw := make([]byte, 4)
	if _, err := io.ReadFull(inside, raw); err != nil {
		return none, errors.Join(err, ctx.Err())
	}
	n := binary.BigEndian.Uint32(raw)
	if n < 4 || n > maxProduceFrame {
		return none, fmt.Errorf("a response of %d bytes", n)
	}
	raw = append(raw, make([]byte, n)...)
	if _, err := io.ReadFull(inside, raw[4:]); err != nil {
		return none, errors.Join(err, ctx.Err())
	}
	resp := req.ResponseKind()
	if err := decodeResponse(raw, resp); err != nil {
		return none, err
	}
	return resp.(R), nil
}

// decodeResponse reads a response frame, size and correlation ID included.
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

// requestHeader reads the header of a request frame, except for its tagged fields.
func requestHeader(frame []byte) (r kbin.Reader, key, version int16) {
	r.Src = frame[4:]
	key, version = r.Int16(), r.Int16()
	r.Int32() // correlation ID
	r.NullableString()
	return r, key, version
}

// decodeRequest reads a request frame, size included.
func decodeRequest(frame []byte) (kmsg.Request, error) {
	r, key, version := requestHeader(frame)
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
	r, _, _ := requestHeader(frame)
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	out := append([]byte(nil), frame[:len(frame)-len(r.Src)]...)
	out = req.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}
