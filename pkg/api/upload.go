package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
)

// upload reads the data of an upload: what follows the first message.
type upload[M any] struct {
	stream *connect.ClientStream[M]
	// data returns a message's; false when it is none of data.
	data  func(*M) ([]byte, bool)
	what  string // "the image archive"
	limit int64  // bytes

	rest  []byte
	total int64
	err   error
}

// firstOf receives the message that an upload begins with; want says of what it is.
func firstOf[M any](stream *connect.ClientStream[M], want string) (*M, error) {
	if !stream.Receive() {
		if err := stream.Err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: the upload is empty: send %s, then data", ErrInvalid, want)
	}
	return stream.Msg(), nil
}

func (r *upload[M]) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.rest, r.err = r.next()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if n == 0 {
		return 0, r.err
	}
	return n, nil
}

func (r *upload[M]) next() ([]byte, error) {
	if !r.stream.Receive() {
		if err := r.stream.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	data, ok := r.data(r.stream.Msg())
	if !ok {
		return nil, fmt.Errorf("%w: behind its first message an upload is data alone", ErrInvalid)
	}
	if r.total += int64(len(data)); r.total > r.limit {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrInvalid, r.what, r.limit)
	}
	return data, nil
}

// send uploads r behind a first message and returns the node's answer.
func send[M, A any](ctx context.Context, open func(context.Context) *connect.ClientStreamForClient[M, A], first *M, r io.Reader, data func([]byte) *M, what string) (*A, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // an upload that was broken off must not look complete
	stream := open(ctx)
	err := stream.Send(first)
	buf := make([]byte, chunk)
	for err == nil {
		n, rerr := io.ReadFull(r, buf)
		if n > 0 {
			err = stream.Send(data(buf[:n]))
		}
		if errors.Is(rerr, io.EOF) || errors.Is(rerr, io.ErrUnexpectedEOF) {
			break
		}
		if rerr != nil {
			return nil, fmt.Errorf("read %s: %w", what, rerr)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) { // with io.EOF the node has answered already
		return nil, fromWire(err)
	}
	res, err := stream.CloseAndReceive()
	if err != nil {
		return nil, fromWire(err)
	}
	return res.Msg, nil
}
