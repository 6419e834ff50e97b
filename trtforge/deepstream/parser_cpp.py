FUNCTION = "NvDsInferParseTrtforge"
