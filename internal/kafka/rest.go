package kafka

import "time"

// rest notes that a broker asked for a pause (a quota was used up). sarama would wait it out with its lock
// held, so that neither a stop nor a loss of the connection could end it: so nothing is given to it
// before the pause is over.
func (l *link) rest(pause time.Duration) {
	if pause <= 0 {
		return
	}
	l.mu.Lock()
	l.resting = time.Now().Add(pause)
	l.mu.Unlock()
}

// rested gives a channel that tells of the end of a pause; nil when there is none.
func (l *link) rested() <-chan time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pause := time.Until(l.resting); pause > 0 {
		return time.After(pause)
	}
	if !l.resting.IsZero() && len(l.queue) > 0 {
		l.resting = time.Time{} // it has just ended
		l.nudge()
	}
	return nil
}
