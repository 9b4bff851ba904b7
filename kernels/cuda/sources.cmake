# The kernels, for nvcc and for the emulation of tests/support/cuda_emulation alike.
set(GDA_CUDA_KERNELS
  adamw.cu
  attention.cu
  attention_hopper.cu
  attention_hopper_forward.cu
  attention_hopper_keys.cu
  attention_hopper_queries.cu
  attention_hopper_values.cu
  attention_plain.cu
  attention_tiled.cu
  attention_tiled_backward.cu
  attention_tiled_backward_keys.cu
  attention_tiled_backward_queries.cu
  attention_tiled_forward.cu
  backend.cu
  differential.cu
  elementwise.cu
  embedding.cu
  gated_difference.cu
  lambda.cu
  linear_cross_entropy.cu
  muon.cu
  poly_norm.cu
  rms_norm.cu
  rope.cu
  swiglu.cu)
list(TRANSFORM GDA_CUDA_KERNELS PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
# Of these some kernels promise the bits of others: with a mask of ones those without a mask, AdamW from an
# origin those of a run that began there. Products and sums are not contracted to one operation here, as compilers do
# where it suits a kernel; memory is what such kernels wait for.
set(GDA_CUDA_UNCONTRACTED
  adamw.cu
  poly_norm.cu
  rms_norm.cu
  swiglu.cu)
list(TRANSFORM GDA_CUDA_UNCONTRACTED PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
# What gda_core needs of the CUDA runtime.
set(GDA_CUDA_RUNTIME
  check.cu
  runtime.cu)
list(TRANSFORM GDA_CUDA_RUNTIME PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
