"""The optimizer on the wire: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.api.optimizer.v1 import optimizer_pb2_grpc as pb_grpc
from servemesh.optimizer.api.files import FilesApi
from servemesh.optimizer.api.job_messages import (
    to_conversion,
    to_evaluation,
    to_job,
    to_log_line,
    to_optimization,
)
from servemesh.optimizer.api.job_requests import from_conversion, from_evaluation, from_optimization
from servemesh.optimizer.api.knowledge import to_pass_info, to_recipe
from servemesh.optimizer.domain.jobs import Kind
from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.recipes import Recipe
from servemesh.optimizer.service.datasets import DatasetBook
from servemesh.optimizer.service.jobs import JobBook
from servemesh.optimizer.service.orders import Orders
from servemesh.optimizer.service.sources import SourceBook
from servemesh.paging import page_request
from servemesh.requests import page_of, request_key

Context = Any
LOG_LINES_DEFAULT = 200


class OptimizerApi(FilesApi, pb_grpc.OptimizerServiceServicer):
    """Sources, Datasets, and jobs of three kinds."""

    def __init__(
        self,
        sources: SourceBook,
        datasets: DatasetBook,
        orders: Orders,
        jobs: JobBook,
        passes: Mapping[str, PassSpec],
        recipes: Mapping[str, Recipe],
    ) -> None:
        FilesApi.__init__(self, sources, datasets)
        self._orders = orders
        self._jobs = jobs
        self._passes = passes
        self._recipes = recipes

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        pb_grpc.add_OptimizerServiceServicer_to_server(self, server)

    async def GetConversion(
        self, request: pb.GetConversionRequest, context: Context
    ) -> pb.GetConversionResponse:
        """Return one Conversion."""
        found = await self._jobs.get(request.name, Kind.CONVERSION)
        return pb.GetConversionResponse(conversion=to_conversion(found))

    async def ListConversions(
        self, request: pb.ListConversionsRequest, context: Context
    ) -> pb.ListConversionsResponse:
        """List Conversions."""
        page = await self._jobs.list(Kind.CONVERSION, page_of(request))
        conversions = [to_conversion(found) for found in page.items]
        return pb.ListConversionsResponse(conversions=conversions, next_page_token=page.next_page_token)

    async def CreateConversion(
        self, request: pb.CreateConversionRequest, context: Context
    ) -> pb.CreateConversionResponse:
        """Ask for a Conversion."""
        made = await self._orders.create(from_conversion(request.conversion), request_key(request))
        return pb.CreateConversionResponse(conversion=to_conversion(made))

    async def GetOptimization(
        self, request: pb.GetOptimizationRequest, context: Context
    ) -> pb.GetOptimizationResponse:
        """Return one Optimization."""
        found = await self._jobs.get(request.name, Kind.OPTIMIZATION)
        return pb.GetOptimizationResponse(optimization=to_optimization(found))

    async def ListOptimizations(
        self, request: pb.ListOptimizationsRequest, context: Context
    ) -> pb.ListOptimizationsResponse:
        """List Optimizations."""
        page = await self._jobs.list(Kind.OPTIMIZATION, page_of(request))
        optimizations = [to_optimization(found) for found in page.items]
        return pb.ListOptimizationsResponse(optimizations=optimizations, next_page_token=page.next_page_token)

    async def CreateOptimization(
        self, request: pb.CreateOptimizationRequest, context: Context
    ) -> pb.CreateOptimizationResponse:
        """Ask for an Optimization."""
        made = await self._orders.create(from_optimization(request.optimization), request_key(request))
        return pb.CreateOptimizationResponse(optimization=to_optimization(made))

    async def GetEvaluation(
        self, request: pb.GetEvaluationRequest, context: Context
    ) -> pb.GetEvaluationResponse:
        """Return one Evaluation."""
        found = await self._jobs.get(request.name, Kind.EVALUATION)
        return pb.GetEvaluationResponse(evaluation=to_evaluation(found))

    async def ListEvaluations(
        self, request: pb.ListEvaluationsRequest, context: Context
    ) -> pb.ListEvaluationsResponse:
        """List Evaluations."""
        page = await self._jobs.list(Kind.EVALUATION, page_of(request))
        evaluations = [to_evaluation(found) for found in page.items]
        return pb.ListEvaluationsResponse(evaluations=evaluations, next_page_token=page.next_page_token)

    async def CreateEvaluation(
        self, request: pb.CreateEvaluationRequest, context: Context
    ) -> pb.CreateEvaluationResponse:
        """Ask for an Evaluation."""
        made = await self._orders.create(from_evaluation(request.evaluation), request_key(request))
        return pb.CreateEvaluationResponse(evaluation=to_evaluation(made))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        """Stop a job."""
        return pb.CancelJobResponse(job=to_job(await self._jobs.cancel(request.name)))

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Context) -> pb.DeleteJobResponse:
        """Forget a job that has ended."""
        await self._jobs.delete(request.name)
        return pb.DeleteJobResponse()

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """Send a job now and after each change."""
        async with aclosing(self._jobs.watch(request.name)) as states:
            async for job in states:
                yield pb.WatchJobResponse(job=to_job(job))

    async def ListJobLogLines(
        self, request: pb.ListJobLogLinesRequest, context: Context
    ) -> pb.ListJobLogLinesResponse:
        """List the lines of a job's log."""
        scope = f"{request.DESCRIPTOR.full_name} {request.parent}"
        asked = page_request(scope, request.page_size or LOG_LINES_DEFAULT, request.page_token)
        page = await self._jobs.log_lines(request.parent, asked)
        return pb.ListJobLogLinesResponse(
            job_log_lines=[to_log_line(line) for line in page.items], next_page_token=page.next_page_token
        )

    async def ListPasses(self, request: pb.ListPassesRequest, context: Context) -> pb.ListPassesResponse:
        """List the passes."""
        return pb.ListPassesResponse(passes=[to_pass_info(spec) for spec in self._passes.values()])

    async def ListRecipes(self, request: pb.ListRecipesRequest, context: Context) -> pb.ListRecipesResponse:
        """List the recipes."""
        return pb.ListRecipesResponse(recipes=[to_recipe(recipe) for recipe in self._recipes.values()])
