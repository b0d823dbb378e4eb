// Package audit proves from a topic alone what of each log file stands in it. In come the record
// batches of a topic, as internal/kafka reads them, with the provenance headers that shiplog wrote;
// out comes a Report: for each file what is covered, what is missing, what is there twice or out of
// order, and what a topic cannot tell. It must never know how batches are fetched, or what the lines
// hold.
package audit
