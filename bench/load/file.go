package main

import (
	"encoding/binary"
	"errors"
	"os"
)

var errTorn = errors.New("the file of questions ends within a question")

// catalogue is what the callers ask: the questions of the file, or else those that follow from the settings.
func (s *settings) catalogue() (*catalogue, error) {
	if s.questions == "" {
		return newCatalogue(s.dataset, s.keys, s.keySpace, s.valueBytes, s.missShare, newRandom(s.seed)), nil
	}
	return readCatalogue(s.questions)
}

// readCatalogue reads questions: each is the body of a request and the body of its answer, four bytes of size in front of both.
func readCatalogue(path string) (*catalogue, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &catalogue{}
	for len(data) > 0 {
		var body, answer []byte
		if body, data, err = sized(data); err != nil {
			return nil, err
		}
		if answer, data, err = sized(data); err != nil {
			return nil, err
		}
		c.questions = append(c.questions, question{body, nil, len(answer), answer})
	}
	if len(c.questions) == 0 {
		return nil, errors.New("the file holds no question")
	}
	return c, nil
}

// sized splits data behind its first piece.
func sized(data []byte) (piece, rest []byte, err error) {
	const header = 4
	if len(data) < header {
		return nil, nil, errTorn
	}
	size := int(binary.BigEndian.Uint32(data))
	if len(data)-header < size {
		return nil, nil, errTorn
	}
	return data[header : header+size : header+size], data[header+size:], nil
}
