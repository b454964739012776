package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a compression codec, by its number in the attributes.
type Codec uint8

// Codecs of Kafka.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String is the name used by compression.type.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// ParseCodec reads a name as used by compression.type ("uncompressed" is none; "producer" is not a codec).
func ParseCodec(name string) (Codec, error) {
	if name == "uncompressed" {
		return None, nil
	}
	for i, n := range codecNames {
		if n == name {
			return Codec(i), nil
		}
	}
	return None, fmt.Errorf("compression %q: want none, gzip, snappy, lz4 or zstd", name)
}

// DefaultMaxDecompressed bounds one batch's decompressed records where the caller gives no bound, in bytes.
const DefaultMaxDecompressed = 64 << 20

// The framing of the Java snappy library that Kafka's Java and C clients use: this header, then (length i32, block)*.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16 // magic, version i32, lowest compatible version i32

// Decompress appends the decompressed src to dst, at most maxBytes of it (0: DefaultMaxDecompressed).
// Errors wrap ErrCorrupt or ErrTooLarge.
func Decompress(dst []byte, codec Codec, src []byte, maxBytes int) ([]byte, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultMaxDecompressed
	}
	var err error
	switch codec {
	case None:
		if len(src) > maxBytes {
			err = errBound
		}
		dst = append(dst, src...)
	case Gzip:
		dst, err = gunzip(dst, src, maxBytes)
	case Snappy:
		dst, err = unsnappy(dst, src, maxBytes)
	case LZ4:
		dst, err = unlz4(dst, src, maxBytes)
	case Zstd:
		dst, err = unzstd(dst, src, maxBytes)
	default:
		err = fmt.Errorf("unknown codec")
	}
	switch {
	case errors.Is(err, errBound):
		return nil, fmt.Errorf("%s: %w of %d bytes", codec, ErrTooLarge, maxBytes)
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, codec, err)
	}
	return dst, nil
}

var errBound = fmt.Errorf("bound")

// readBounded appends r to dst, at most maxBytes.
func readBounded(dst []byte, r io.Reader, maxBytes int) ([]byte, error) {
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		room := dst[len(dst):min(cap(dst), start+maxBytes+1)]
		n, err := r.Read(room)
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-start > maxBytes:
			return nil, errBound
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return nil, err
		}
	}
}

var gzipReaders sync.Pool

func gunzip(dst, src []byte, maxBytes int) ([]byte, error) {
	r, _ := gzipReaders.Get().(*gzip.Reader)
	if r == nil {
		r = new(gzip.Reader)
	}
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	return readBounded(dst, r, maxBytes)
}

func unsnappy(dst, src []byte, maxBytes int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return unsnappyBlock(dst, src, maxBytes)
	}
	if len(src) < xerialHeader {
		return nil, io.ErrUnexpectedEOF
	}
	start := len(dst)
	for src = src[xerialHeader:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; n > int64(len(src)) {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if dst, err = unsnappyBlock(dst, src[:n], maxBytes-(len(dst)-start)); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

func unsnappyBlock(dst, src []byte, maxBytes int) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	switch {
	case err != nil:
		return nil, err
	case n > maxBytes:
		return nil, errBound
	case n > 64*len(src)+64: // a copy of 3 bytes makes 64 at most; don't allocate what a block can't hold
		return nil, s2.ErrCorrupt
	}
	start := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := s2.Decode(dst[start:], src); err != nil {
		return nil, err
	}
	return dst, nil
}

var lz4Readers sync.Pool

func unlz4(dst, src []byte, maxBytes int) ([]byte, error) {
	r, _ := lz4Readers.Get().(*lz4.Reader)
	if r == nil {
		r = lz4.NewReader(nil)
	}
	defer lz4Readers.Put(r)
	r.Reset(bytes.NewReader(src))
	return readBounded(dst, r, maxBytes)
}

// zstd decoders by the bound they enforce, a power of two of bytes; made at first use.
var (
	zstdMu       sync.Mutex
	zstdDecoders [32]*zstd.Decoder
)

func zstdDecoder(maxBytes int) (*zstd.Decoder, error) {
	tier := max(bits.Len(uint(maxBytes-1)), 20)
	if tier > 31 {
		tier = 31
	}
	zstdMu.Lock()
	defer zstdMu.Unlock()
	if zstdDecoders[tier] == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(1<<tier))
		if err != nil {
			return nil, err
		}
		zstdDecoders[tier] = d
	}
	return zstdDecoders[tier], nil
}

func unzstd(dst, src []byte, maxBytes int) ([]byte, error) {
	d, err := zstdDecoder(maxBytes + len(dst)) // the decoder counts dst too
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst, err = d.DecodeAll(src, dst)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, errBound
	case err != nil:
		return nil, err
	case len(dst)-start > maxBytes:
		return nil, errBound
	}
	return dst, nil
}

// Compress appends the compressed src to dst, in the framing that Kafka's Java client writes.
func Compress(dst []byte, codec Codec, src []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		buf := bytes.NewBuffer(dst)
		w := gzip.NewWriter(buf)
		_, _ = w.Write(src) // a bytes.Buffer doesn't fail
		err := w.Close()
		return buf.Bytes(), err
	case Snappy:
		return xerial(dst, src), nil
	case LZ4:
		buf := bytes.NewBuffer(dst)
		w := lz4.NewWriter(buf)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
			return nil, err
		}
		_, _ = w.Write(src)
		err := w.Close()
		return buf.Bytes(), err
	case Zstd:
		e, err := zstdEncoder()
		if err != nil {
			return nil, err
		}
		return e.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("compress: unknown %s", codec)
}

var zstdEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
})

const xerialBlock = 32 << 10

func xerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	for len(src) > 0 {
		block := s2.EncodeSnappy(nil, src[:min(xerialBlock, len(src))])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		src = src[min(xerialBlock, len(src)):]
	}
	return dst
}
