package shipper

import (
	"time"

	"go.uber.org/zap"

	"shiplog/internal/kafka"
)

// complaint is a trouble that was said.
type complaint struct {
	what  string
	class kafka.Class
}

const noPartition = "no partition can be sent to; waiting"

// complain says that something keeps the source from shipping: at once when it is new, and then once
// a minute.
func (s *Source) complain(now time.Time, what string, err *kafka.Error, more ...zap.Field) {
	c := complaint{what, err.Class}
	if last, ok := s.said[c]; ok && now.Sub(last) < repeatEvery {
		return
	}
	if s.said == nil {
		s.said = make(map[complaint]time.Time)
	}
	s.said[c], s.troubled = now, true
	log := s.log.Warn
	if err.Class.OfSource() {
		log = s.log.Error
	}
	log(what, append(more, zap.String("class", string(err.Class)), zap.Error(err))...)
}

// recovered says that the source ships again, once after each trouble that was said. What was said
// keeps its time: a broker that comes and goes must not fill the log.
func (s *Source) recovered() {
	if !s.troubled {
		return // nobody heard of any trouble
	}
	s.troubled = false
	s.log.Info("going on: lines get through again")
}
