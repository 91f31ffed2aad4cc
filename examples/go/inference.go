package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	oip "servemesh.dev/api/oip/v2"
)

// infer classifies all digits in one call.
func infer(inference oip.GRPCInferenceServiceClient, digits []digit) error {
	ctx, cancel := within(callTimeout)
	defer cancel()
	var all []float32
	for _, one := range digits {
		all = append(all, one.image...)
	}
	answer, err := inference.ModelInfer(ctx, requestOf(model, "", all, int64(len(digits)), pixels))
	if err != nil {
		return err
	}
	labels, err := labelsOf(answer)
	if err != nil {
		return err
	}
	probabilities := make([]float32, 10*len(digits))
	if err := readOutput(answer, "probabilities", probabilities); err != nil {
		return err
	}
	said, right := make([]string, len(labels)), 0
	for row, label := range labels {
		said[row] = strconv.FormatInt(label, 10)
		if label == digits[row].label {
			right++
		}
	}
	fmt.Printf("infer: version %s, labels %s, %d of %d right\n",
		answer.ModelVersion, strings.Join(said, " "), right, len(digits))
	fmt.Printf("probability of the first: %.4f\n", probabilities[labels[0]])
	return nil
}

// requestOf returns a request with raw contents: row-major, little-endian.
func requestOf(name, id string, image []float32, shape ...int64) *oip.ModelInferRequest {
	raw := new(bytes.Buffer)
	binary.Write(raw, binary.LittleEndian, image) // a Buffer takes whatever it is given
	return &oip.ModelInferRequest{
		ModelName:        name,
		Id:               id,
		Inputs:           []*oip.ModelInferRequest_InferInputTensor{{Name: "image", Datatype: "FP32", Shape: shape}},
		RawInputContents: [][]byte{raw.Bytes()},
	}
}

// readOutput fills values with one output: the raw contents lie in the order of the outputs.
func readOutput(answer *oip.ModelInferResponse, name string, values interface{}) error {
	for position, output := range answer.Outputs {
		if output.Name == name {
			return binary.Read(bytes.NewReader(answer.RawOutputContents[position]), binary.LittleEndian, values)
		}
	}
	return fmt.Errorf("there is no output %s", name)
}

// labelsOf returns the INT64 output "label".
func labelsOf(answer *oip.ModelInferResponse) ([]int64, error) {
	labels := make([]int64, answer.Outputs[0].Shape[0])
	return labels, readOutput(answer, "label", labels)
}

// printServed tells what OIP says of the model that is served.
func printServed(inference oip.GRPCInferenceServiceClient) error {
	ctx, cancel := within(callTimeout)
	defer cancel()
	ready, err := inference.ModelReady(ctx, &oip.ModelReadyRequest{Name: model})
	if err != nil {
		return err
	}
	fmt.Printf("model ready: %t\n", ready.Ready)
	index, err := inference.RepositoryIndex(ctx, &oip.RepositoryIndexRequest{Ready: true})
	if err != nil {
		return err
	}
	for _, found := range index.Models {
		fmt.Printf("index: %s version %s %s\n", found.Name, found.Version, found.State)
	}
	metadata, err := inference.ModelMetadata(ctx, &oip.ModelMetadataRequest{Name: model})
	if err != nil {
		return err
	}
	printTensors("input", metadata.Inputs)
	printTensors("output", metadata.Outputs)
	return nil
}

func printTensors(kind string, tensors []*oip.ModelMetadataResponse_TensorMetadata) {
	for _, tensor := range tensors {
		shape := strings.ReplaceAll(fmt.Sprint(tensor.Shape), " ", ",")
		fmt.Printf("%s: %s %s %s\n", kind, tensor.Name, tensor.Datatype, shape)
	}
}

// stream sends three requests over one stream; the second is wrong, and the stream goes on.
func stream(inference oip.GRPCInferenceServiceClient, digits []digit) error {
	ctx, cancel := within(callTimeout)
	defer cancel()
	call, err := inference.ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	for position, one := range digits[:3] {
		image := one.image
		if position == 1 {
			image = image[:len(image)-1]
		}
		id := strconv.Itoa(position + 1)
		if err := call.Send(requestOf(model, id, image, 1, int64(len(image)))); err != nil {
			return err
		}
	}
	if err := call.CloseSend(); err != nil {
		return err
	}
	for {
		answer, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := printAnswer(answer); err != nil {
			return err
		}
	}
}

func printAnswer(answer *oip.ModelStreamInferResponse) error {
	response := answer.InferResponse
	if answer.ErrorMessage != "" {
		code := response.Parameters["servemesh_code"].GetStringParam()
		reason := response.Parameters["servemesh_reason"].GetStringParam()
		fmt.Printf("stream: answer %s, %s %s\n", response.Id, code, reason)
		return nil
	}
	labels, err := labelsOf(response)
	if err != nil {
		return err
	}
	fmt.Printf("stream: answer %s, label %d\n", response.Id, labels[0])
	return nil
}

// meetErrors sends two calls that are refused: branch on code and reason, never on the text.
func meetErrors(inference oip.GRPCInferenceServiceClient) {
	ctx, cancel := within(callTimeout)
	defer cancel()
	for _, request := range []*oip.ModelInferRequest{
		requestOf("nobody", "", make([]float32, pixels), 1, pixels),
		requestOf(model, "", make([]float32, 63), 1, 63),
	} {
		if _, err := inference.ModelInfer(ctx, request); err != nil {
			info := errorInfo(err)
			about := make([]string, 0, len(info.Metadata))
			for key, value := range info.Metadata {
				about = append(about, key+"="+value)
			}
			sort.Strings(about)
			fmt.Printf("error: %s %s of %s, %s\n", nameOf(err), info.Reason, info.Domain, strings.Join(about, ", "))
		}
	}
}

// errorInfo returns the ErrorInfo in the trailer grpc-status-details-bin; an empty one if the mesh sent none.
func errorInfo(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return &errdetails.ErrorInfo{}
}

// nameOf returns the code as the specification writes it; Go's own String() is in camel case.
func nameOf(err error) string {
	switch code := status.Code(err); code {
	case codes.InvalidArgument:
		return "INVALID_ARGUMENT"
	case codes.NotFound:
		return "NOT_FOUND"
	case codes.DeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	default:
		return code.String()
	}
}
