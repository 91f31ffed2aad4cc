# What the Makefiles of the examples share: where the protos lie, and where what is built goes.
ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
OUT := $(ROOT)/.cache/examples/$(notdir $(CURDIR))
DIGITS := $(ROOT)/examples/digits.csv
ADDRESS ?= 127.0.0.1:8001

INCLUDES := -I$(ROOT)/protos -I$(ROOT)/examples/protos
OIP := servemesh/api/oip/v2/inference.proto servemesh/api/oip/v2/model_config.proto
REGISTRY := servemesh/api/registry/v1/registry.proto
HEALTH := grpc/health/v1/health.proto
STATUS := google/rpc/status.proto
ERROR_INFO := google/rpc/error_info.proto
ALL_PROTOS := $(shell find $(ROOT)/protos $(ROOT)/examples/protos -name '*.proto')

.DEFAULT_GOAL := build
.PHONY: build run versions
