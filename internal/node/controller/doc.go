// Package controller is the active controller and its standbys: one event loop over the metadata log (KIP-500, KIP-631).
//
// The state is one persistent structure with up to three roots. The working root has every prepared record applied and
// answers writes; the committed root stands at the last stable offset and answers reads; inside a metadata transaction
// (KIP-868) a begin root is kept, to which an abort returns. Losing leadership swaps the working root for the committed
// one. Callers are answered when the last stable offset passes the last record of their operation.
//
// Operations are functions of the working state and a request that return records and an answer: they do no I/O, and
// take the clock and randomness from outside, so that each is tested by tables without the loop.
package controller
