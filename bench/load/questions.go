package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// errWrong is an answer that holds no error and is not the right one.
var errWrong = status.Error(codes.DataLoss, "the answer is wrong")

// The stored data, the same rule as bench/dataset.py: key n is user_<n>, its value the eight digits of n over and over.
const (
	millisOfFirst = 1_700_000_000_000
	keyFormat     = "user_%08d"
	digitsFormat  = "%08d"
)

// Field numbers of chronoserve.v1: the first field of each message we nest is number 1, the second number 2.
const (
	firstField  = protowire.Number(1)
	secondField = protowire.Number(2)
)

// question is one MultiGetRequest as it is sent, with what is needed to check its answer.
type question struct {
	body       []byte
	keys       []int
	answerSize int
	answer     []byte // where it does not follow from the keys
}

// catalogue is the set of ready-made questions that callers draw from.
type catalogue struct {
	questions  []question
	valueBytes int
	keySpace   int
}

// questionsMin keeps repetition rare for large batches; bodies of single keys cover the whole key space once.
const questionsMin = 2048

func newCatalogue(dataset string, keysPerCall, keySpace, valueBytes int, missShare float64, random *rand.Rand) *catalogue {
	c := &catalogue{valueBytes: valueBytes, keySpace: keySpace}
	for range max(questionsMin, keySpace/max(keysPerCall, 1)) {
		keys := make([]int, keysPerCall)
		for i := range keys {
			keys[i] = random.IntN(keySpace)
			if random.Float64() < missShare {
				keys[i] += keySpace
			}
		}
		c.questions = append(c.questions, question{encodeRequest(dataset, keys), keys, len(c.answer(keys)), nil})
	}
	return c
}

// reply makes the place for the answer to a question; keep asks for a comparison of every byte.
func (q *question) reply(keep bool) *reply { return &reply{expected: q.answerSize, keep: keep} }

func (c *catalogue) draw(random *rand.Rand) *question {
	return &c.questions[random.IntN(len(c.questions))]
}

func appendField(to []byte, number protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, number, protowire.BytesType), content)
}

func encodeRequest(dataset string, keys []int) []byte {
	var body []byte
	for _, key := range keys {
		get := appendField(nil, firstField, fmt.Appendf(nil, keyFormat, key))
		body = appendField(body, firstField, appendField(get, secondField, []byte(dataset)))
	}
	return body
}

// answer is the MultiGetResponse that a correct server gives; keys beyond the key space have no value.
func (c *catalogue) answer(keys []int) []byte {
	var body []byte
	for _, key := range keys {
		var response []byte
		if key < c.keySpace {
			digits := fmt.Sprintf(digitsFormat, key)
			value := strings.Repeat(digits, c.valueBytes/len(digits)+1)[:c.valueBytes]
			timed := appendField(nil, firstField, []byte(value))
			timed = protowire.AppendVarint(protowire.AppendTag(timed, secondField, protowire.VarintType), uint64(millisOfFirst+key))
			response = appendField(nil, firstField, timed)
		}
		body = appendField(body, firstField, response)
	}
	return body
}

// check returns nil for the right answer: its size is always compared, its bytes where they were kept.
func (c *catalogue) check(asked *question, answered *reply) error {
	if answered.bytes == nil && answered.size == asked.answerSize {
		return nil
	}
	if asked.answer != nil {
		if bytes.Equal(answered.bytes, asked.answer) {
			return nil
		}
		return errWrong
	}
	if bytes.Equal(answered.bytes, c.answer(asked.keys)) {
		return nil
	}
	if refusal := itemError(answered.bytes); refusal != nil {
		return refusal
	}
	return errWrong
}

// itemError is the first error of an item in a MultiGetResponse.
func itemError(answer []byte) error {
	for len(answer) > 0 {
		number, kind, header := protowire.ConsumeTag(answer)
		if header < 0 || number != firstField || kind != protowire.BytesType {
			return nil
		}
		item, size := protowire.ConsumeBytes(answer[header:])
		if size < 0 {
			return nil
		}
		answer = answer[header+size:]
		if number, _, header := protowire.ConsumeTag(item); header > 0 && number == secondField {
			return statusOf(item[header:])
		}
	}
	return nil
}

func statusOf(field []byte) error {
	content, size := protowire.ConsumeBytes(field)
	found := &spb.Status{}
	if size < 0 || proto.Unmarshal(content, found) != nil {
		return nil
	}
	return status.ErrorProto(found)
}
