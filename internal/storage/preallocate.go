package storage

// A log that fsyncs each append pays, with each, for the file's new size in the file system's journal. Space that was allocated before,
// size included, takes that out of the way: an fsync in place of two. Apache Kafka knows such files, too (log.preallocate). What lies behind
// the last batch is zero; rolling and closing cut it off, and so does opening after a crash.
const (
	preallocateLeast = 64 << 10
	preallocateMost  = 4 << 20
)

// preallocator is a File whose space can be allocated ahead.
type preallocator interface {
	// Preallocate makes the file size bytes long, as if zeros were written at its end. An error has no consequence.
	Preallocate(size int64) error
}

// reserve allocates ahead of an append that ends at end: as much again as the segment has, within bounds, so that a small log stays small.
func (s *segment) reserve(end int64, cfg *LogConfig) {
	if !cfg.Preallocate || end <= s.allocated {
		return
	}
	ahead := min(max(end, preallocateLeast), preallocateMost)
	to := min(end+ahead, max(cfg.SegmentBytes, end))
	if f, ok := s.file.(preallocator); ok && f.Preallocate(to) == nil {
		s.allocated = to
	}
}

// trim cuts off what was allocated and not used, durably.
func (s *segment) trim() error {
	if s.allocated <= s.size.Load() {
		return nil
	}
	if err := s.file.Truncate(s.size.Load()); err != nil {
		return err
	}
	s.allocated = 0
	return s.file.Sync()
}
