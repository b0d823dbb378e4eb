package kafka

import "encoding/binary"

// Partition gives the partition, of n, that Java's default partitioner puts a record with that key
// into: toPositive(murmur2(key)) % n. So keys land where the records of other producers land. The
// key must not be nil, and n must be above zero.
func Partition(key []byte, n int32) int32 {
	return (murmur2(key) & 0x7fffffff) % n
}

// murmur2 is org.apache.kafka.common.utils.Utils.murmur2: 32-bit MurmurHash2 with Kafka's seed. Its
// shifts are unsigned, and its sum wraps.
func murmur2(data []byte) int32 {
	const (
		seed uint32 = 0x9747b28c
		m    uint32 = 0x5bd1e995
		r           = 24
	)
	h := seed ^ uint32(len(data))
	for len(data) >= 4 {
		k := binary.LittleEndian.Uint32(data) * m
		k ^= k >> r
		h = h*m ^ k*m
		data = data[4:]
	}
	if len(data) > 0 { // the last 1 to 3 bytes, little endian
		for i := len(data) - 1; i >= 0; i-- {
			h ^= uint32(data[i]) << (8 * i)
		}
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h)
}
