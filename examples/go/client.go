// Every call that a service makes to the mesh, with stubs generated from protos/.
//
// client ADDRESS DIGITS: DIGITS is a file with a digit in each line, its label and then 64 shades of grey.
package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	oip "servemesh.dev/api/oip/v2"
	registry "servemesh.dev/api/registry/v1"
)

const (
	model           = "digits"
	pixels          = 64
	callTimeout     = 10 * time.Second
	readyTimeout    = 60 * time.Second
	shortTimeout    = 500 * time.Millisecond
	messageBytesMax = 64 << 20 // what the mesh takes; grpc-go alone would receive 4 MiB
)

type digit struct {
	label int64
	image []float32
}

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(address, path string) error {
	digits, err := readDigits(path)
	if err != nil {
		return err
	}
	received := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax))
	connection, err := grpc.Dial(address, grpc.WithInsecure(), received)
	if err != nil {
		return err
	}
	defer connection.Close()
	inference := oip.NewGRPCInferenceServiceClient(connection)
	models := registry.NewRegistryServiceClient(connection)

	if err := printHealth(inference, healthpb.NewHealthClient(connection)); err != nil {
		return err
	}
	if err := printModels(models); err != nil {
		return err
	}
	created, err := deploy(models)
	if err != nil {
		return err
	}
	if err := watchUntilReady(models); err != nil {
		return err
	}
	if err := infer(inference, digits); err != nil {
		return err
	}
	if err := printServed(inference); err != nil {
		return err
	}
	if err := stream(inference, digits); err != nil {
		return err
	}
	meetErrors(inference)
	meetDeadline(models)
	if !created {
		return nil
	}
	return undeploy(models)
}

func readDigits(path string) ([]digit, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, err
	}
	digits := make([]digit, len(rows))
	for row, fields := range rows {
		numbers := make([]float32, len(fields))
		for position, field := range fields {
			number, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			numbers[position] = float32(number)
		}
		digits[row] = digit{label: int64(numbers[0]), image: numbers[1:]}
	}
	return digits, nil
}

func within(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), timeout)
}

// printHealth asks in both ways whether the mesh takes calls: Kubernetes and load balancers use the second.
func printHealth(inference oip.GRPCInferenceServiceClient, health healthpb.HealthClient) error {
	ctx, cancel := within(callTimeout)
	defer cancel()
	live, err := inference.ServerLive(ctx, &oip.ServerLiveRequest{})
	if err != nil {
		return err
	}
	ready, err := inference.ServerReady(ctx, &oip.ServerReadyRequest{})
	if err != nil {
		return err
	}
	checked, err := health.Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	fmt.Printf("live: %t\nready: %t\nhealth: %s\n", live.Live, ready.Ready, checked.Status)
	return nil
}

// printModels lists what the registry has, page by page.
func printModels(models registry.RegistryServiceClient) error {
	ctx, cancel := within(callTimeout)
	defer cancel()
	for token := ""; ; {
		page, err := models.ListModels(ctx, &registry.ListModelsRequest{PageToken: token})
		if err != nil {
			return err
		}
		for _, found := range page.Models {
			fmt.Printf("model: %s, newest version %d\n", found.Name, found.LatestVersionId)
		}
		if token = page.NextPageToken; token == "" {
			return nil
		}
	}
}

// deploy asks that the model be served; false if it is already.
func deploy(models registry.RegistryServiceClient) (bool, error) {
	ctx, cancel := within(callTimeout)
	defer cancel()
	replicas := int32(1)
	wish := &registry.Deployment{Model: "models/" + model, Replicas: &replicas}
	_, err := models.CreateDeployment(ctx, &registry.CreateDeploymentRequest{Deployment: wish})
	if status.Code(err) == codes.AlreadyExists {
		return false, nil
	}
	return err == nil, err
}

// watchUntilReady follows the Deployment until as many workers hold it as were asked for.
func watchUntilReady(models registry.RegistryServiceClient) error {
	ctx, cancel := within(readyTimeout)
	defer cancel()
	watch, err := models.WatchDeployment(ctx, &registry.WatchDeploymentRequest{Name: "deployments/" + model})
	if err != nil {
		return err
	}
	for {
		answer, err := watch.Recv()
		if err != nil {
			return err
		}
		switch found := answer.Deployment; found.State {
		case registry.Deployment_STATE_FAILED:
			return fmt.Errorf("%s cannot be served: %s %s", found.Name, found.Reason, found.Message)
		case registry.Deployment_STATE_READY:
			fmt.Printf("deployment: %s READY, %d of %d replicas\n", found.Name, found.ReadyReplicas, found.GetReplicas())
			return nil
		}
	}
}

func undeploy(models registry.RegistryServiceClient) error {
	ctx, cancel := within(callTimeout)
	defer cancel()
	name := "deployments/" + model
	if _, err := models.DeleteDeployment(ctx, &registry.DeleteDeploymentRequest{Name: name}); err != nil {
		return err
	}
	fmt.Printf("deployment: %s deleted\n", name)
	return nil
}

// meetDeadline watches for longer than the deadline: a watch does not end by itself.
func meetDeadline(models registry.RegistryServiceClient) {
	ctx, cancel := within(shortTimeout)
	defer cancel()
	watch, err := models.WatchDeployment(ctx, &registry.WatchDeploymentRequest{Name: "deployments/" + model})
	for err == nil {
		_, err = watch.Recv()
	}
	fmt.Printf("deadline: %s\n", nameOf(err))
}
