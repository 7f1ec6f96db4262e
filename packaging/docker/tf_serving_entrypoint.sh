#!/bin/sh
# As in the image tensorflow/serving: the model's name and folder come from the environment,
# the ports are 8500 and 8501, and what follows the image's name on the command line wins.
exec tensorflow_model_server \
  --port=8500 \
  --rest_api_port=8501 \
  --model_name="${MODEL_NAME}" \
  --model_base_path="${MODEL_BASE_PATH}/${MODEL_NAME}" \
  "$@"
